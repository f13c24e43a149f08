#!/usr/bin/python3
"""Merge the shards of a GGUF into one file, or split one into shards, by llama.cpp's own tool.

Usage: reshape-gguf SOURCE DESTINATION WHAT TOOL [WORD…]

SOURCE is the file, or of shards the first: the others lie beside it. WHAT is `merge`, or `split` with the most
megabytes of a shard, `split 45000`. TOOL and the words after it are the command of llama-gguf-split.

DESTINATION is a folder of its own, whole or not at all: beside each file in it, `.NAME.verified` records its size, time
of change and digest, and `.converted` what they were made of. Each file is told in a line of JSON.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

MARGIN = 512 << 20  # what the rest of the system keeps to itself
TAIL = 10  # lines of the tool that a failure shows
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


class ReshapeError(Exception):
    """It cannot be done; the message says why."""


def shards_of(first: Path) -> list[Path]:
    """The shards of which this is the first.

    Raises:
        ReshapeError: It is none, or another one is missing.
    """
    named = _SHARD.fullmatch(first.name)
    if named is None or int(named[2]) != 1:
        raise ReshapeError(f"{first.name} is not the first of several shards (NAME-00001-of-0000N.gguf)")
    names = [f"{named[1]}-{number:05}-of-{named[3]}.gguf" for number in range(1, int(named[3]) + 1)]
    missing = [name for name in names if not (first.parent / name).is_file()]
    if missing:
        raise ReshapeError(f"{first.parent} lacks {', '.join(missing)}")
    return [first.parent / name for name in names]


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def recorded(path: Path) -> str:
    """The digest that the fetcher recorded of a file, if the record still fits; else it is computed."""
    status = path.stat()
    try:
        size, changed, sha256 = path.with_name(f".{path.name}.verified").read_text().split()
    except (OSError, ValueError):
        return digest(path)
    return sha256 if (int(size), int(changed)) == (status.st_size, status.st_mtime_ns) else digest(path)


def reshape(source: Path, destination: Path, what: str, tool: list[str]) -> list[Path]:
    """Make the folder; return its files.

    Raises:
        ReshapeError: A shard is missing, the disk is too small, or the tool failed.
    """
    kind, _, most = what.partition(" ")
    whole = shards_of(source) if kind == "merge" else [source]
    if not source.is_file():
        raise ReshapeError(f"there is no {source}")
    needed = sum(path.stat().st_size for path in whole)
    destination.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    free = shutil.disk_usage(destination.parent).free
    if free < needed + MARGIN:
        raise ReshapeError(f"{destination.parent} has {free / 1e9:.1f} GB free, and this needs {needed / 1e9:.1f}")
    named = _SHARD.fullmatch(source.name)
    stem = named[1] if named else source.stem
    draft = destination.with_name(f".{destination.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # what a killed run left
    draft.mkdir(mode=0o755)
    try:
        options = ["--merge"] if kind == "merge" else ["--split", "--split-max-size", f"{most}M"]
        target = draft / (f"{stem}.gguf" if kind == "merge" else stem)
        done = subprocess.run([*tool, *options, str(source), str(target)], capture_output=True, text=True, check=False)
        made = sorted(draft.glob("*.gguf"))
        if done.returncode or not made:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL:])
            raise ReshapeError(f"{tool[-1].rpartition('/')[2]} ended with {done.returncode}:\n{tail}")
        for path in made:
            _finish(path)
        (draft / ".converted").write_text(f"{recorded(source)} {what}\n")
        (draft / ".fetch.lock").touch()  # the mark by which weights are listed and removed
        os.sync()
        shutil.rmtree(destination, ignore_errors=True)
        draft.rename(destination)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [destination / path.name for path in made]


def _finish(path: Path) -> None:
    path.chmod(0o644)
    status = path.stat()
    note = path.with_name(f".{path.name}.verified")
    note.write_text(f"{status.st_size} {status.st_mtime_ns} {digest(path)}\n")


def main(arguments: list[str]) -> int:
    """Do what the arguments say."""
    os.umask(0o022)
    source, destination, what, *tool = arguments
    place = Path(destination)
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (place.parent / ".reshape.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in reshape(Path(source), place, what, tool):
                told = {"name": path.name, "bytes": path.stat().st_size, "sha256": recorded(path)}
                print(json.dumps(told))  # noqa: T201 - a program of its own on the box
    except (ReshapeError, OSError) as error:
        print(f"reshape-gguf: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
