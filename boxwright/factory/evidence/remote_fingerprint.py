"""Runs on the box, sent there as source: a digest of what its bill of materials is read from, told much sooner.

Whatever `remote_inventory` reads, this looks at: at small files by their bytes; at packages by dpkg's own record and
apt's signed lists; at wheels, models and modules by size and times of their files, of which the kernel alone sets one.
The folder of models is the one argument. Standard library only, for whatever Python 3 the box has. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PROGRAMS = Path("/opt/boxwright")
RECORDS = Path("/etc/boxwright")
FILES = ("receipt.json", "sbom.cdx.json", "provenance.intoto.jsonl")
TWIN = Path("/etc/boxwright-twin")
RELEASE = Path("/etc/os-release")
DPKG = Path("/var/lib/dpkg/status")
APT_LISTS = Path("/var/lib/apt/lists")
MODULES = Path("/lib/modules")
OUT_OF_TREE = ("updates", "extra", "weak-updates")  # as remote_inventory looks for them
NOTES = ("MANIFEST", "WHEELS", "BUILD.json", "SIMULATED")


def digest(path: Path) -> str:
    """SHA-256 of a file; nothing where it is not."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def marks(paths: Iterable[Path]) -> list[list[object]]:
    """What tells that files are still the same: their names, sizes and times."""
    found: list[list[object]] = []
    for path in sorted(paths):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append([str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    return found


def programs() -> Iterator[list[object]]:
    """Every version of a program, what points at it, and what is told of it."""
    for folder in sorted(PROGRAMS.glob("*/*")):
        if folder.is_symlink():
            yield [str(folder), str(folder.readlink())]
        elif folder.is_dir() and not folder.name.startswith("."):
            wheels = [*folder.glob("lib/python3*/site-packages/*.dist-info")]
            told = [wheel / name for wheel in wheels for name in ("METADATA", "RECORD")]
            yield [str(folder), *marks(folder / name for name in NOTES), *marks(told)]


def images() -> str:
    """Container images of Docker, by digest."""
    command = ("docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{json .}}")
    fields = ("Repository", "Tag", "Digest", "ID")
    try:
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    except OSError:
        return ""
    return "\n".join(json.dumps([json.loads(row).get(name) for name in fields]) for row in told.splitlines())


def state(models: Path) -> list[object]:
    """Everything that the bill is read from."""
    modules = (path for name in OUT_OF_TREE for path in MODULES.glob(f"*/{name}/**/*.ko*"))
    return [
        [os.uname().release, digest(RELEASE), TWIN.exists(), digest(RECORDS / FILES[0])],
        [digest(DPKG), *([path.name, digest(path)] for path in sorted(APT_LISTS.glob("*Release")))],
        list(programs()),
        marks(path for path in models.glob("*/*/**/*") if path.is_file()),
        images(),
        marks(modules),
    ]


def main(models: Path) -> dict[str, object]:
    """The digest of all that, and those of the files that are the box's evidence now."""
    told = hashlib.sha256(json.dumps(state(models)).encode()).hexdigest()
    return {"state": told, "files": {name: digest(RECORDS / name) for name in FILES}}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201 - a program of its own on the box
