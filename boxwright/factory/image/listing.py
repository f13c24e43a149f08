"""A list of everything in a tree, a path a line, for people and for `diff`; and a search for what must not be there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from boxwright.errors import BoxwrightError

HEAD = "# path\tmode\towner:group\tbytes\tUnix time\tsha256, or where it leads\n"
_BLOCK = 1 << 20


def listing(tree: Path, forbidden: Sequence[bytes] = ()) -> str:
    """List a tree.

    Args:
        tree: The root.
        forbidden: Words that may stand in no file of it.

    Raises:
        BoxwrightError: One of them does; it says where.
    """
    lines: list[str] = []
    leaks: list[str] = []
    for path in _every(tree):
        status = path.lstat()
        try:
            size, told = _told(path, status, forbidden)
        except _LeakError:
            leaks.append(f"/{path.relative_to(tree)}")
            continue
        fields = [
            "/" + str(path.relative_to(tree)) if path != tree else "/",
            f"{status.st_mode:06o}",
            f"{status.st_uid}:{status.st_gid}",
            size,
            str(int(status.st_mtime)),
            told + _attributes(path),
        ]
        lines.append("\t".join(field.encode("unicode_escape").decode("ascii") for field in fields))
    if leaks:
        raise BoxwrightError(
            "something of the machine that the image was built on is left in it, so it was not made",
            where=", ".join(leaks),
            hint="This is a mistake of Boxwright's: please report it, with the paths.",
        )
    return HEAD + "".join(f"{line}\n" for line in lines)


class _LeakError(Exception):
    """A forbidden word stands in a file."""


def _every(tree: Path) -> Iterator[Path]:
    yield tree
    for folder, folders, files in os.walk(tree):
        folders.sort()
        yield from (Path(folder, name) for name in sorted((*folders, *files)))


def _told(path: Path, status: os.stat_result, forbidden: Sequence[bytes]) -> tuple[str, str]:
    """Size and content."""
    if stat.S_ISREG(status.st_mode):
        return str(status.st_size), _digest(path, forbidden)
    if stat.S_ISLNK(status.st_mode):
        return "", f"-> {os.readlink(path)}"  # noqa: PTH115  as it is written, and not made a path of
    if stat.S_ISDIR(status.st_mode):
        return "", ""
    return "", f"device {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _digest(path: Path, forbidden: Sequence[bytes]) -> str:
    """The sha256 of a file, read once, and looked through on the way."""
    digest = hashlib.sha256()
    reach = max((len(word) for word in forbidden), default=1) - 1
    before = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            seen = before + block
            for word in forbidden:
                if word in seen:
                    raise _LeakError
            before = seen[-reach:] if reach else b""
    return digest.hexdigest()


def _attributes(path: Path) -> str:
    """Extended attributes, such as the capabilities of a program."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return "".join(f" {name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in names)
