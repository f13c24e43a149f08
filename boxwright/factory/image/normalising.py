"""What is left of the clock in a sealed tree: dates of files and of accounts, and stamps that follow them."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

_DAY_S = 86400
_BY_DATE = 0  # the flags of a .pyc file that holds the date and the size of its source


def normalise(tree: Path, epoch: int) -> None:
    """Let nothing in a tree be newer than the newest package in it.

    Folders are all dated alike: theirs says when something in them last came or went. Notes of Python and of our own
    that hold the date of another file are written for its new one.

    Args:
        tree: Sealed.
        epoch: Unix time.
    """
    _date_accounts(tree, epoch)
    for path in every(tree):
        _date(path, epoch)
    for path in every(tree):
        note = _note(path)
        if note is not None and note != path.read_bytes():
            path.write_bytes(note)
            _date(path, epoch)
    for folder, _, _ in os.walk(tree, topdown=False):
        os.utime(folder, (epoch, epoch))


def every(tree: Path) -> Iterator[Path]:
    """Everything in a tree but its folders, in order."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))
        yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())


def _date(path: Path, epoch: int) -> None:
    """Take back the date of a file that is newer. Others are left alone: in an overlay, touching one copies it."""
    status = path.lstat()
    if status.st_mtime_ns > epoch * 10**9:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _note(path: Path) -> bytes | None:
    """What a file that holds another's date should be; None where it holds none."""
    if path.is_symlink():
        return None
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return _compiled(path)
    if path.name.endswith(".verified") and path.name.startswith("."):
        return _verified(path)
    return None


def _compiled(path: Path) -> bytes | None:
    """A compiled file of Python for its source's new date, without which Python would compile it at every start."""
    source = path.parent.parent / f"{path.name.split('.')[0]}.py"
    data = path.read_bytes()
    if len(data) < 16 or struct.unpack_from("<I", data, 4)[0] != _BY_DATE or not source.is_file():
        return None
    stamp = struct.pack("<I", int(source.stat().st_mtime) & 0xFFFFFFFF)
    return data[:8] + stamp + data[12:]


def _verified(path: Path) -> bytes | None:
    """The note of a model's file that its digest was verified: it holds as long as size and date are the noted ones."""
    noted = path.with_name(path.name.removeprefix(".").removesuffix(".verified"))
    words = path.read_bytes().split()
    if len(words) != 3 or not noted.is_file():
        return None
    status = noted.stat()
    return b"%d %d %s\n" % (status.st_size, status.st_mtime_ns, words[2])


def _date_accounts(tree: Path, epoch: int) -> None:
    """Accounts that were made today had their passwords set today, says /etc/shadow."""
    path = tree / "etc/shadow"
    days = epoch // _DAY_S
    text = path.read_text()
    dated = re.sub(
        r"^([^:]*:[^:]*:)([0-9]+):", lambda match: f"{match[1]}{min(int(match[2]), days)}:", text, flags=re.MULTILINE
    )
    if dated != text:
        path.write_text(dated)
