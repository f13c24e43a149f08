"""Runs on the box, sent there as source: tells everything that is installed there, as JSON on standard output.

The folder of models is the one argument. Standard library only, for whatever Python 3 the box has. Nothing is changed.
"""

from __future__ import annotations

import email.parser
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = Path("/opt/boxwright")
RECEIPT = Path("/etc/boxwright/receipt.json")
TWIN = Path("/etc/boxwright-twin")
COPYRIGHT_AT_MOST = 2 << 20  # bytes; one file of licences of the kernel's source is a megabyte
OUT_OF_TREE = ("updates", "extra", "weak-updates")  # below /lib/modules/RELEASE: what no package of the kernel brought


def told(*command: str) -> str:
    """What a program says; nothing where it is not installed or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    return done.stdout


def system() -> dict[str, str]:
    """The release of the operating system, and the kernel that runs."""
    lines = Path("/etc/os-release").read_text().splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    wanted = {"id": "ID", "version": "VERSION_ID", "title": "PRETTY_NAME", "codename": "VERSION_CODENAME"}
    return {name: release.get(key, "").strip('"') for name, key in wanted.items()} | {"kernel": os.uname().release}


def packages() -> list[dict[str, Any]]:
    """Debian packages that are installed; with the digest of each archive, where apt's signed lists tell it."""
    fields = ("db:Status-Status", "Package", "Version", "Architecture", "source:Package", "source:Version")
    form = "\t".join(f"${{{field}}}" for field in (*fields, "binary:Summary")) + "\n"
    rows = [line.split("\t") for line in told("dpkg-query", "-W", "-f", form).splitlines()]
    # config-files and the like are leftovers of what was removed
    rows = [row for row in rows if len(row) == 7 and row[0] in ("installed", "triggers-pending", "triggers-awaited")]
    digests = archive_digests([f"{name}:{architecture}" for _, name, _, architecture, *_ in rows])
    return [
        {
            "name": name,
            "version": version,
            "architecture": architecture,
            "source": source,
            "source_version": source_version,
            "licenses": licenses(Path("/usr/share/doc") / name / "copyright"),
            "sha256": digests.get((name, version, architecture), ""),
            "simulated": "SIMULATED" in summary,
        }
        for _, name, version, architecture, source, source_version, summary in rows
    ]


def archive_digests(names: list[str]) -> dict[tuple[str, str, str], str]:
    """SHA-256 of archives by name, version and architecture, from the lists of packages that apt has verified."""
    found = {}
    for stanza in told("apt-cache", "show", "--all-versions", *(name.removesuffix(":all") for name in names)).split(
        "\n\n"
    ):
        fields = dict(re.findall(r"^(Package|Version|Architecture|SHA256): (\S+)$", stanza, re.MULTILINE))
        if len(fields) == 4:
            found[fields["Package"], fields["Version"], fields["Architecture"]] = fields["SHA256"]
    return found


def licenses(path: Path) -> list[str]:
    """Short names of licences in a copyright file that programs can read; none where it is prose."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(COPYRIGHT_AT_MOST)
    except OSError:
        return []
    if not re.match(r"\s*Format(-Specification)?:", text):
        return []
    return sorted({name.strip() for name in re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)})


def programs() -> Iterator[dict[str, Any]]:
    """Everything below /opt/boxwright, each version that is there: unpacked packages, environments, what was built."""
    for folder in sorted(PROGRAMS.glob("*/*")):
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
            links = [link.name for link in sorted(folder.parent.iterdir()) if is_link_to(link, folder)]
            yield {
                "name": folder.parent.name,
                "version": folder.name,
                "links": links,
                "simulated": (folder / "SIMULATED").exists(),
                "packages": manifest(folder / "MANIFEST"),
                "wheels": wheels(folder),
                "build": build(folder / "BUILD.json"),
            }


def is_link_to(link: Path, folder: Path) -> bool:
    """Whether this is a link to a version of a program, such as `current`."""
    return link.is_symlink() and link.readlink().name == folder.name


def manifest(path: Path) -> list[dict[str, str]]:
    """Packages that were unpacked into a folder of their own, from what was written down when it was done."""
    if not path.is_file():
        return []
    rows = re.findall(r"^([^=\s]+)=(\S+) ([0-9a-f]{64})$", path.read_text(), re.MULTILINE)
    return [{"name": name, "version": version, "sha256": sha256} for name, version, sha256 in rows]


def wheels(environment: Path) -> list[dict[str, Any]]:
    """The distributions in a Python environment, with digests of their archives where these were noted."""
    note = environment / "WHEELS"
    rows = re.findall(r"^(\S+)==(\S+) ([0-9a-f]{64})$", note.read_text() if note.is_file() else "", re.MULTILINE)
    archives = {(normalized(name), version): sha256 for name, version, sha256 in rows}
    found = [wheel(one) for one in sorted(environment.glob("lib/python3*/site-packages/*.dist-info"))]
    return [{**one, "sha256": archives.get((normalized(one["name"]), one["version"]), "")} for one in found]


def normalized(name: str) -> str:
    """A package's name as indexes compare it: `PyYAML` is `pyyaml`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel(folder: Path) -> dict[str, Any]:
    """A distribution of Python, from its own metadata; the digest of its RECORD stands for all of its files."""
    told = email.parser.HeaderParser().parsestr((folder / "METADATA").read_text(errors="replace"))
    record = folder / "RECORD"
    classifiers = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier", ()) if one.startswith("License ::")]
    return {
        "name": told["Name"],
        "version": told["Version"],
        "expression": told["License-Expression"] or "",
        "licenses": sorted(set(classifiers) - {"OSI Approved"}),
        "license": " ".join((told["License"] or "").split()),
        "record_sha256": digest(record) if record.is_file() else "",
    }


def build(path: Path) -> dict[str, Any]:
    """How a program was built from source; nothing where it was not."""
    try:
        recipe = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return recipe if isinstance(recipe, dict) else {}


def models(root: Path) -> list[dict[str, Any]]:
    """Builds of models, with the digests that were recorded when their files were verified."""
    found = []
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir() and not folder.is_symlink() and not folder.parent.name.startswith("."):
            files = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_weight(path)]
            found.append(
                {
                    "name": f"{folder.parent.name}/{folder.name}",
                    "converted": (folder / ".converted").exists(),
                    "files": [
                        {"name": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": recorded(path)}
                        for path in files
                    ],
                }
            )
    return found


def is_weight(path: Path) -> bool:
    """Whether this is a file of a model, and none of ours beside it nor one that is on its way."""
    return not path.name.startswith(".") and path.suffix not in (".part", ".piece", ".new")


def recorded(path: Path) -> str:
    """The digest that was noted of a file, if the note still fits it."""
    try:
        size, changed, sha256 = path.with_name(f".{path.name}.verified").read_text().split()
    except (OSError, ValueError):
        return ""
    status = path.stat()
    return sha256 if (int(size), int(changed)) == (status.st_size, status.st_mtime_ns) else ""


def images() -> list[dict[str, str]]:
    """Container images of Docker, by digest."""
    rows = told("docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{json .}}").splitlines()
    keys = {"repository": "Repository", "tag": "Tag", "digest": "Digest", "id": "ID"}
    return [{name: json.loads(row).get(key, "") for name, key in keys.items()} for row in rows]


def modules() -> list[dict[str, str]]:
    """Kernel modules on the disk that no package of the kernel brought: drivers by DKMS, and such."""
    paths = (path for name in OUT_OF_TREE for path in Path("/lib/modules").glob(f"*/{name}/**/*.ko*"))
    return [
        {
            "name": path.name.partition(".")[0],
            "path": str(path),
            "version": told("modinfo", "-F", "version", str(path)).strip(),
            "license": told("modinfo", "-F", "license", str(path)).strip(),
            "sha256": digest(path),
        }
        for path in sorted(paths)
        if path.is_file()
    ]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(root: Path) -> dict[str, Any]:
    """Everything, as data."""
    return {
        "system": system(),
        "twin": TWIN.exists(),
        "receipt": RECEIPT.read_text() if RECEIPT.is_file() else "",
        "packages": packages(),
        "programs": list(programs()),
        "models": models(root),
        "images": images(),
        "modules": modules(),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201 - a program of its own on the box
