#!/usr/bin/python3
"""Unpack a pinned archive of Ollama into a folder of its own.

Usage: install-ollama REQUEST

REQUEST is a JSON file: `folder` (of the version), `release` (as Ollama calls itself), `kind` (tar.zst or tgz),
`sha256`, `bytes` (or null), `urls`, `part` (where the archive arrives, and where the controller may have sent it),
`user` (who runs Ollama), `fetcher` (the folder of fetch-model), `proxy` and `no_proxy`. Nothing that runs is touched:
which version serves is for run-ollama to say.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

COMPLETE = ".complete"  # written last, with the digest of the archive: a folder without it is the rest of a killed run
SPARE = 512 << 20  # bytes that the rest of the system keeps to itself
UNPACKED = 2.0  # times the size of the archive: 1.5 was seen of 0.32.6
USUAL_BYTES = 1_500_000_000  # of an archive whose size nobody told


class InstallError(Exception):
    """The version cannot be installed; the message says why."""


def _require_space(request: dict[str, Any], part: Path) -> None:
    here = part.stat().st_size if part.exists() else 0
    size = request["bytes"] or max(here, USUAL_BYTES if request["urls"] else 0)
    for place, needed in ((part.parent, size - here), (Path(request["folder"]).parent, int(UNPACKED * size))):
        free = shutil.disk_usage(place).free
        if free < needed + SPARE:
            raise InstallError(
                f"{place} has {free / 1e9:.1f} GB free; this needs {needed / 1e9:.1f} and {SPARE / 1e9:.1f} to spare"
            )


def _fetch(request: dict[str, Any], part: Path) -> Path:
    """Have the archive here, with its digest. It goes on where an earlier run was cut off."""
    sys.path.insert(0, request["fetcher"])
    from files import FetchError, Part  # noqa: PLC0415 - of fetch-model, whose folder the request names
    from progress import Meter, say  # noqa: PLC0415
    from transfer import Net, Work, receive  # noqa: PLC0415

    work = Work(Net(request["proxy"], request["no_proxy"], {}), Meter(), threading.Event())
    arriving = Part(part.with_name(part.name.removesuffix(".part")), work.meter)
    work.meter.expect(request["bytes"] or USUAL_BYTES)
    if not request["urls"] and arriving.sha256 != request["sha256"]:
        arriving.reset()
        raise InstallError("what the controller sent is not the archive that was promised, and was removed: run again")
    size = request["bytes"] or (arriving.done if arriving.sha256 == request["sha256"] else None)
    ticking = threading.Event()
    teller = threading.Thread(target=_tell, args=(ticking, lambda: say(work.meter.line(at_once=1))), daemon=True)
    teller.start()
    try:
        receive(arriving, tuple(request["urls"]), size, request["sha256"], work)
    except FetchError as error:
        raise InstallError(str(error)) from None
    finally:
        ticking.set()
    return arriving.path


def _tell(ended: threading.Event, tell: Any) -> None:
    while not ended.wait(5.0):
        tell()


def _run(command: list[str], **options: Any) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **options)
    except FileNotFoundError:
        raise InstallError(f"{command[0]} is not installed") from None
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise InstallError(f"{command[0]} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout + done.stderr


def _unpack(request: dict[str, Any], archive: Path, folder: Path) -> None:
    if request["kind"] == "tar.zst" and shutil.which("zstd") is None:
        raise InstallError("zstd, which unpacks this archive, is not installed: apt-get install zstd")
    decompress = "zstd" if request["kind"] == "tar.zst" else "gzip"
    taking = ["tar", "--extract", f"--use-compress-program={decompress}", f"--file={archive}"]
    _run([*taking, "--no-same-owner", "--no-same-permissions", f"--directory={folder}"])
    program = folder / "bin/ollama"
    if not program.is_file():
        raise InstallError(f"{archive.name} has no bin/ollama: it is no archive of Ollama's for Linux")
    user = request["user"]
    asking = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    # Without a server to ask, it tells of itself alone.
    told = _run([*asking, str(program), "--version"], env={"HOME": "/nonexistent", "OLLAMA_HOST": "127.0.0.1:9"})
    if request["release"] not in told.split():
        raise InstallError(f"{archive.name} is not Ollama {request['release']}; it says: {told.strip()}")


def install(request: dict[str, Any]) -> None:
    """Unpack the version unless it is complete."""
    folder, part = Path(request["folder"]), Path(request["part"])
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / COMPLETE).exists():
            return
        _require_space(request, part)
        archive = _fetch(request, part)
        draft = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)  # what a killed run left
        shutil.rmtree(folder, ignore_errors=True)
        draft.mkdir(mode=0o755)
        try:
            _unpack(request, archive, draft)
            (draft / COMPLETE).write_text(f"{request['sha256']}\n")
            os.sync()
            archive.unlink()  # before it counts as installed: behind a power cut nobody would come for it
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Install what the request file says."""
    os.umask(0o022)
    try:
        install(json.loads(Path(arguments[0]).read_text()))
    except (InstallError, OSError, subprocess.TimeoutExpired) as error:
        print(f"install-ollama: {error}", file=sys.stderr)  # noqa: T201 - a program of its own on the box
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
