"""The tree of files in an archive of source code, named as git names it: by a digest of names, modes and contents."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from boxwright.errors import BadInputError

_Tree = dict[str, "_Tree | tuple[str, bytes]"]  # by name: a folder, or mode and id of a file


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
    begin = f"{folder}/" if folder else ""
    root: _Tree = {}
    try:
        with tarfile.open(archive) as source:
            for member in source:
                name = member.name.removeprefix("./")
                begin = begin or name.split("/")[0] + "/"
                if name.startswith(begin) and (member.isfile() or member.issym()):
                    _put(root, name.removeprefix(begin).split("/"), _file(source, member))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInputError(f"this archive of source code cannot be read: {error}", where=str(archive)) from None
    if not root:
        raise BadInputError(f"this archive has nothing below {begin}", where=str(archive))
    return _id(root).hex()


def _file(source: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, bytes]:
    if member.issym():
        return "120000", _object("blob", member.linkname.encode())
    stream = source.extractfile(member)
    content = stream.read() if stream else b""
    return "100755" if member.mode & 0o100 else "100644", _object("blob", content)


def _put(root: _Tree, parts: list[str], file: tuple[str, bytes]) -> None:
    for part in parts[:-1]:
        below = root.setdefault(part, {})
        if isinstance(below, tuple):
            return  # a file that is a folder, too: the archive's last word counts on a box as well
        root = below
    root[parts[-1]] = file


def _id(tree: _Tree) -> bytes:
    entries = []
    for name, entry in tree.items():
        if isinstance(entry, tuple):
            entries.append((name.encode(), entry[0], entry[1]))
        else:
            entries.append((f"{name}/".encode(), "40000", _id(entry)))  # git sorts folders as if they ended so
    content = b"".join(mode.encode() + b" " + name.rstrip(b"/") + b"\0" + one for name, mode, one in sorted(entries))
    return _object("tree", content)


def _object(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content).digest()  # noqa: S324  what git has
