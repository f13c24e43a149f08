#!/usr/bin/python3
"""Install a hash-pinned list of wheels into a versioned Python environment.

Usage: install-python-environment REQUEST

REQUEST is a JSON file: `python` (an unpacked interpreter, see install-debian-root), `destination`, `version`,
`requirements` (a pip list with hashes that holds every dependency), `index`, `wheels` (pages or a folder of wheels that
the index does not have), `also` (a name and version under which a distribution is found besides its own), `link` and
`proxy`. The environment has no pip of its own. `DESTINATION/LINK` points at the version completed last; the one
before it is kept, and what other links there point at; older ones go.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
ARCHIVES = "WHEELS"  # names each wheel with the digest of its archive
COMPLETE = ".complete"  # written last: an environment without it is the rest of a killed run


class InstallError(Exception):
    """The environment cannot be made; the message says why."""


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise InstallError(f"{' '.join(command[:4])} failed with exit code {done.returncode}:\n{tail}")


def _build(folder: Path, request: dict[str, Any]) -> None:
    root = Path(request["python"]).resolve()
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    _run([str(root / "usr/bin/python3.11"), "-m", "venv", "--without-pip", str(folder)], environment)
    python = str(folder / "bin/python")
    (pip,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    settings = {
        "PIP_CERT": AUTHORITIES,
        "PIP_CONFIG_FILE": os.devnull,  # the request says it all
        "PIP_INDEX_URL": request["index"],
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_RETRIES": "5",
    }
    if request["index"].startswith("http://"):  # as a bundle's: the list's digests decide what is installed
        settings["PIP_TRUSTED_HOST"] = urlsplit(request["index"]).netloc
    if request["wheels"]:
        settings["PIP_FIND_LINKS"] = " ".join(request["wheels"])
    if request["proxy"]:
        settings |= {"http_proxy": request["proxy"], "https_proxy": request["proxy"]}
    installing = [python, f"{pip}/pip", "install", "--quiet", "--requirement", request["requirements"]]
    rules = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    lean = ["--no-cache-dir", "--no-compile"]  # compiled below instead, on every core
    report = folder / ".report.json"
    _run([*installing, *rules, *lean, "--report", str(report)], environment | settings)
    _note_archives(report, folder / ARCHIVES)
    for name, version in request["also"].items():
        _also(folder, name, version)
    # A wheel may carry files that this Python cannot compile (templates, tests of newer syntax): they are not used.
    compiling = [python, "-m", "compileall", "-q", "-j", "0", str(folder / "lib")]
    subprocess.run(compiling, env=environment, capture_output=True, check=False)
    (folder / COMPLETE).touch()


def _note_archives(report: Path, note: Path) -> None:
    """Keep, of what pip tells of an installation, the digest of each wheel: the wheels themselves are not kept.

    The report goes: it names the index, with credentials where its address has some.
    """
    told = json.loads(report.read_text())["install"]
    report.unlink()
    rows = (
        (one["metadata"]["name"], one["metadata"]["version"], one["download_info"]["archive_info"]["hashes"]["sha256"])
        for one in told
    )
    note.write_text("".join(f"{name}=={version} {sha256}\n" for name, version, sha256 in sorted(rows)))


def _also(folder: Path, name: str, version: str) -> None:
    """Let code that asks for the version of `name` find one: builds for a processor have names of their own."""
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    known = packages / f"{name}-{version}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (known / "RECORD").touch()


def install(request: dict[str, Any]) -> None:
    """Build the environment unless it is complete, and point `current` at it."""
    destination = Path(request["destination"])
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (destination / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder, link = destination / request["version"], destination / request["link"]
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, request)
            os.sync()
        before = str(link.readlink()) if link.is_symlink() else request["version"]
        draft = destination / f".{link.name}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(request["version"])
        draft.replace(link)
        kept = {before, *(str(other.readlink()) for other in destination.iterdir() if other.is_symlink())}
        for other in destination.iterdir():
            if other.is_dir() and not other.is_symlink() and other.name not in kept:
                shutil.rmtree(other)


def main(arguments: list[str]) -> int:
    """Install what the request file says."""
    os.umask(0o022)
    try:
        install(json.loads(Path(arguments[0]).read_text()))
    except (InstallError, OSError) as error:
        print(f"install-python-environment: {error}", file=sys.stderr)  # noqa: T201 - a program of its own on the box
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
