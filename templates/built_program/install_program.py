#!/usr/bin/python3
"""Install a program that was built elsewhere, or here: verified, moved into place whole, and tried.

Usage: install-program --processors FLAGS
       install-program ARCHIVE SHA256 DESTINATION VERSION PROGRAM [WORD…]

FLAGS, between commas, are what this machine's processors must be able to do, as /proc/cpuinfo shows it: asked before
anything is built. ARCHIVE is what build-program made. It becomes DESTINATION/VERSION, with BUILD.json as its mark, and
`DESTINATION/current` points there; the archive goes. PROGRAM is one of its programs, which is tried with the words that
follow.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

TAIL = 10  # lines that a failed trial shows


class InstallError(Exception):
    """The program cannot be installed; the message says why."""


def missing_flags(flags: str, cpuinfo: str) -> list[str]:
    """What processors cannot do of what they must."""
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    there = set(line[1].split()) if line else set()
    return [flag for flag in flags.split(",") if flag and flag not in there]


def _verify(archive: Path, sha256: str) -> None:
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise InstallError(f"{archive} has sha256 {found}, and {sha256} was promised")


def _unpack(archive: Path, folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    with tarfile.open(archive) as source:
        for member in source:
            if not member.isfile() or not re.fullmatch(r"BUILD\.json|bin/[A-Za-z0-9._-]+", member.name):
                raise InstallError(f"{archive.name} holds {member.name}, which is no part of a built program")
            stream = source.extractfile(member)
            if stream is None:
                raise InstallError(f"{archive.name} is damaged at {member.name}")
            path = folder / member.name
            with path.open("wb") as target:
                shutil.copyfileobj(stream, target)
            path.chmod(0o755 if member.name.startswith("bin/") else 0o644)


def _try(command: list[str]) -> None:
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=120,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL:])
        raise InstallError(f"{' '.join(command[-2:])} does not run on this machine ({done.returncode}):\n{tail}")


def require_processors(flags: str, cpuinfo: str) -> None:
    """Refuse a machine on which the program would end with "Illegal instruction".

    Raises:
        InstallError: Its processors lack something.
    """
    missing = missing_flags(flags, cpuinfo)
    if missing:
        raise InstallError(
            f"it is built for processors with {', '.join(missing)}, and this machine's have none: "
            "set hardware.cpu.isa of the profile to what they have"
        )


def install(archive: Path, final: Path, *, sha256: str, command: list[str]) -> None:
    """Verify, unpack beside the final place, try, rename, remove the archive, and point `current` there.

    Raises:
        InstallError: It is another archive, or does not run here.
    """
    destination = final.parent
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (destination / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _verify(archive, sha256)
        work = destination / ".work"
        shutil.rmtree(work, ignore_errors=True)  # what a killed run left
        try:
            _unpack(archive, work)
            _try([str(work / "bin" / command[0]), *command[1:]])
            os.sync()
            shutil.rmtree(final, ignore_errors=True)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        draft = destination / ".current.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(final.name)
        archive.unlink()  # before it counts as installed: behind a power cut nobody would come for it
        draft.replace(destination / "current")


def main(arguments: list[str]) -> int:
    """Install what the arguments say."""
    os.umask(0o022)
    try:
        if arguments[0] == "--processors":
            require_processors(arguments[1], Path("/proc/cpuinfo").read_text())
            return 0
        archive, sha256, destination, version, *command = arguments
        install(Path(archive), Path(destination) / version, sha256=sha256, command=command)
    except (InstallError, OSError, tarfile.TarError, EOFError, subprocess.TimeoutExpired) as error:
        print(f"install-program: {error}", file=sys.stderr)  # noqa: T201 - a program of its own on the box
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
