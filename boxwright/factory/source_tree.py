"""The tree of files in an archive of source code, and git's name of it: a digest of names, modes and contents."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from boxwright.errors import BadInputError

# By name: a folder, or a kind (`file`, `program`, `link`) with what is kept of its content.
Tree = dict[str, "Tree | tuple[str, bytes]"]
_BYTES = "surrogateescape"  # names are bytes to git, and need not be text
_MOST_BYTES = 1 << 30  # in an archive; the largest that is known has a tenth of it
_MODES = {"file": "100644", "program": "100755", "link": "120000"}  # as git has them


def tree_in(archive: Path, folder: str | None = None, keep: Callable[[bytes], bytes] = bytes) -> Tree:
    """The files below a folder of an archive.

    Args:
        archive: A tar archive.
        folder: Below which they lie there; None: the only one at its top.
        keep: What of each content is kept; all of it unless something else is said.

    Raises:
        BadInputError: It is no such archive, has nothing there, or is larger than any that is known.
    """
    begin = f"{folder}/" if folder else ""
    root: Tree = {}
    size = 0
    try:
        with tarfile.open(archive, encoding="utf-8", errors=_BYTES) as source:
            for member in source:
                size += abs(member.size)
                if size > _MOST_BYTES:
                    raise BadInputError(f"this archive has more than {_MOST_BYTES >> 20} MiB in it", where=str(archive))
                name = member.name.removeprefix("./")
                begin = begin or name.split("/")[0] + "/"
                if name.startswith(begin) and (member.isfile() or member.issym()):
                    kind, content = _told(source, member)
                    _put(root, name.removeprefix(begin).split("/"), (kind, keep(content)))
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise BadInputError(
            f"this archive of source code cannot be read: {error}", where=str(archive), hint="Get it anew."
        ) from None
    if not root:
        raise BadInputError(f"this archive has nothing below {begin}", where=str(archive))
    return root


def as_bytes(name: str) -> bytes:
    """A name of a tree, or what a link leads to, as it stands in the archive."""
    return name.encode("utf-8", _BYTES)


def tree_of(archive: Path, folder: str | None) -> str:
    """The id of the tree below a folder of an archive: two archives with the same files have the same.

    It is git's own id of such a tree. A source distribution may lack files that upstream's repository has, and then has
    another id than the commit's tree.

    Args:
        archive: A tar archive.
        folder: Below which it lies there; None: the only one at its top.

    Raises:
        BadInputError: It is no such archive, or has nothing there.
    """
    return _id(tree_in(archive, folder, lambda content: _object("blob", content))).hex()


def _told(source: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, bytes]:
    if member.issym():
        return "link", as_bytes(member.linkname)
    stream = source.extractfile(member)
    return "program" if member.mode & 0o100 else "file", stream.read() if stream else b""


def _put(root: Tree, parts: list[str], file: tuple[str, bytes]) -> None:
    for part in parts[:-1]:
        below = root.setdefault(part, {})
        if isinstance(below, tuple):
            return  # a file that is a folder, too: the archive's last word counts on a box as well
        root = below
    root[parts[-1]] = file


def _id(tree: Tree) -> bytes:
    entries = []
    for name, entry in tree.items():
        if isinstance(entry, tuple):
            entries.append((as_bytes(name), _MODES[entry[0]], entry[1]))
        else:
            entries.append((as_bytes(f"{name}/"), "40000", _id(entry)))  # git sorts folders as if they ended so
    content = b"".join(mode.encode() + b" " + name.rstrip(b"/") + b"\0" + one for name, mode, one in sorted(entries))
    return _object("tree", content)


def _object(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content).digest()  # noqa: S324  what git has
