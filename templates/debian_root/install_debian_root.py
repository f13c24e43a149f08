#!/usr/bin/python3
"""Unpack signed Debian packages into a versioned folder of their own, without touching the system's packages.

Usage: install-debian-root REQUEST

REQUEST is a JSON file: `destination`, `mirror`, `keyring`, `check_valid_until`, `suites`, `packages`,
`with_dependencies`, `provided` (dependencies that need not be there), `version_of` (the package that names the
version), `check` (a command inside the folder that must succeed), `chroot` (whether the folder is a root filesystem or
only a prefix) and `proxy`. apt works with sources, lists and a cache of its own and trusts that keyring alone.
`DESTINATION/current` points at the newest version; its MANIFEST names each package, version and digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

MERGED = ("bin", "lib", "lib64", "sbin")  # packages expect these to be links into usr
MOUNT_POINTS = ("dev", "etc", "proc", "run", "sys", "tmp")
LEFT_OUT = (
    "./usr/share/bash-completion/*",
    "./usr/share/doc/*/NEWS*",
    "./usr/share/doc/*/changelog*",
    "./usr/share/info/*",
    "./usr/share/lintian/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
)


class InstallError(Exception):
    """The folder cannot be made; the message says why."""


def _run(command: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise InstallError(f"{' '.join(command[:3])} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


def _apt_environment(work: Path, request: dict[str, Any]) -> dict[str, str]:
    """Give apt a world of its own: no host file is read but the keyring, and none is written."""
    for folder in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    architecture = _run(["dpkg", "--print-architecture"], dict(os.environ)).strip()
    (work / "etc/sources.list").write_text(
        "".join(
            f"deb [signed-by={request['keyring']}] {request['mirror']} {suite} main\n" for suite in request["suites"]
        )
    )
    (work / "state/status").write_text(
        "".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 9999\nArchitecture: {architecture}\n"
            f"Multi-Arch: foreign\nMaintainer: none\nDescription: left out of the folder\n\n"
            for name in request["provided"]
        )
    )
    proxy = request["proxy"]
    (work / "apt.conf").write_text(
        f'Dir::Etc "{work}/etc";\nDir::State "{work}/state";\nDir::State::status "{work}/state/status";\n'
        f'Dir::Cache "{work}/cache";\nDir::Log "{work}";\n'
        f'Acquire::Check-Valid-Until "{str(request["check_valid_until"]).lower()}";\n'
        'APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n'
        'Acquire::Languages "none";\nAcquire::Retries "3";\n'
        + (f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n' if proxy else "")
    )
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "APT_CONFIG": str(work / "apt.conf")}


def _download(work: Path, request: dict[str, Any]) -> list[Path]:
    environment = _apt_environment(work, request)
    archives = work / "cache/archives"
    _run(["apt-get", "-q", "update"], environment)
    if request["with_dependencies"]:
        _run(["apt-get", "-qy", "install", "--download-only", *request["packages"]], environment)
    else:
        _run(["apt-get", "-q", "download", *request["packages"]], environment, archives)
    return sorted(archives.glob("*.deb"))


def _unpack(archive: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as source:
        excludes = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        target = subprocess.run(
            ["tar", "-x", "-C", str(root), "--keep-directory-symlink", *excludes],
            stdin=source.stdout,
            check=False,
        )
    if source.returncode or target.returncode:
        raise InstallError(f"{archive.name} could not be unpacked; is the disk full?")


def _field(archive: Path, name: str) -> str:
    return _run(["dpkg-deb", "-f", str(archive), name], dict(os.environ)).strip()


def _manifest(archives: list[Path]) -> dict[str, tuple[str, str]]:
    def digest(path: Path) -> str:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    return {_field(path, "Package"): (_field(path, "Version"), digest(path)) for path in archives}


def _build(work: Path, request: dict[str, Any]) -> tuple[Path, str]:
    """Make the folder beside its final place; return it and its version."""
    archives = _download(work, request)
    root = work / "root"
    root.mkdir(mode=0o755)
    if request["chroot"]:
        for name in MERGED:
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(f"usr/{name}")
        for name in MOUNT_POINTS:
            (root / name).mkdir()
    for archive in archives:
        _unpack(archive, root)
    packages = _manifest(archives)
    lines = [f"{name}={version} {digest}\n" for name, (version, digest) in sorted(packages.items())]
    (root / "MANIFEST").write_text("".join(lines))
    check = request["check"]
    command = ["chroot", str(root), f"/{check[0]}"] if request["chroot"] else [str(root / check[0])]
    _run(
        [*command, *check[1:]],
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"},
    )
    return root, packages[request["version_of"]][0].partition(":")[2] or packages[request["version_of"]][0]


def _switch(link: Path, version: str) -> None:
    draft = link.with_name(".current.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(version)
    draft.replace(link)


def install(request: dict[str, Any]) -> str:
    """Build the folder, move it into place, point `current` at it; return the version."""
    destination = Path(request["destination"])
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (destination / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work = destination / ".work"
        shutil.rmtree(work, ignore_errors=True)  # what a killed run left
        work.mkdir(mode=0o700)
        try:
            root, version = _build(work, request)
            final = destination / version
            shutil.rmtree(final, ignore_errors=True)  # `current` never pointed there, or its MANIFEST is gone
            os.sync()
            root.rename(final)
            shutil.rmtree(work)  # before it counts as installed: behind a power cut nobody would come for it
            _switch(destination / "current", version)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return version


def main(arguments: list[str]) -> int:
    """Install what the request file says."""
    os.umask(0o022)
    request = json.loads(Path(arguments[0]).read_text())
    try:
        print(f"{request['version_of']} {install(request)}")  # noqa: T201 - a program of its own on the box
    except (InstallError, OSError) as error:
        print(f"install-debian-root: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
