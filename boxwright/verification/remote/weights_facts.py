"""Tells of each file of a model whether it is as it was when it was verified, and hashes those of which that is open.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.

The note `.NAME.verified` beside a file holds its size, its time of change and its digest as they were found. The kernel
sets a file's time of status change at every write, and no program can set it back: a file that was touched after its
note was written is of another day, whatever time of change it shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BLOCK = 4 << 20
AT_ONCE = 4


def note_of(path: Path) -> tuple[str, str, str, int]:
    """Size, time of change and digest as they were noted, and when; empty where there is no note."""
    note = path.with_name(f".{path.name}.verified")
    try:
        size, changed, digest = note.read_text().split()
        return size, changed, digest, note.stat().st_mtime_ns
    except (OSError, ValueError):
        return "", "", "", 0


def state_of(file: dict[str, Any]) -> dict[str, Any]:
    """What a file shows without being read."""
    path = Path(file["path"])
    try:
        status = path.stat()
    except OSError as error:
        return {**file, "trouble": error.strerror}
    size, changed, digest, noted = note_of(path)
    fits = (size, changed, digest) == (str(status.st_size), str(status.st_mtime_ns), file["sha256"])
    return {
        **file,
        "size": status.st_size,
        "mode": status.st_mode & 0o7777,
        "changed": max(status.st_mtime, status.st_ctime),
        "noted": noted / 1e9,
        "untouched": fits and status.st_ctime_ns <= noted,
    }


def digest_of(path: str, until: float, *, once: bool) -> str | None:
    """A file's digest; None where the time was over before its end.

    `once` says that nobody will read the file again soon: what is not in use leaves the page cache again.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
        while block := stream.read(BLOCK):
            digest.update(block)
            if once:
                os.posix_fadvise(stream.fileno(), 0, stream.tell(), os.POSIX_FADV_DONTNEED)
            if time.monotonic() > until:
                return None
    return digest.hexdigest()


def facts(data: dict[str, Any]) -> dict[str, Any]:
    """The files. `data`: `files` (`path`, `bytes`, `sha256`), `always_bytes`, `budget_s`, and `deep`.

    All of them are hashed where `deep` says so, or where they are `always_bytes` together at most; otherwise those that
    were touched, for `budget_s` seconds.
    """
    files = [state_of(file) for file in data["files"]]
    there = [file for file in files if "trouble" not in file and file["size"] == file["bytes"]]
    all_of_them = data["deep"] or sum(file["bytes"] for file in there) <= data["always_bytes"]
    # Small ones first: when the time is over, most of them are known.
    chosen = sorted((one for one in there if all_of_them or not one["untouched"]), key=lambda one: one["bytes"])
    began = time.monotonic()
    until = began + data["budget_s"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        digests = pool.map(lambda one: digest_of(one["path"], until, once=data["deep"]), chosen)
        for file, digest in zip(chosen, digests, strict=True):
            file["digest"] = digest
    return {"files": files, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
