"""The digest of a tree of files as Nix has it (a NAR): of names, contents, links, and whether a file can be run.

Distributions publish it of the sources that they build from. Unlike that of an archive it stays the same however the
files are packed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile

from boxwright.factory.source_tree import Tree, as_bytes


def digest(tree: Tree) -> str:
    """`sha256-…`, as Nix writes it."""
    said = hashlib.sha256(_string(b"nix-archive-1") + _folder(tree))
    return f"sha256-{base64.b64encode(said.digest()).decode()}"


def packed(tree: Tree, folder: str) -> bytes:
    """The tree as a tar archive below one folder, the same bytes each time: no time, no owner, names in order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as archive:
        _pack(archive, tree, folder)
    return stream.getvalue()


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(8, "little") + value + b"\0" * (-len(value) % 8)


def _strings(*values: bytes) -> bytes:
    return b"".join(map(_string, values))


def _folder(tree: Tree) -> bytes:
    entries = (
        _strings(b"entry", b"(", b"name", as_bytes(name), b"node") + _node(one) + _string(b")")
        for name, one in sorted(tree.items(), key=lambda pair: as_bytes(pair[0]))
    )
    return _strings(b"(", b"type", b"directory") + b"".join(entries) + _string(b")")


def _node(one: Tree | tuple[str, bytes]) -> bytes:
    if isinstance(one, dict):
        return _folder(one)
    kind, content = one
    if kind == "link":
        return _strings(b"(", b"type", b"symlink", b"target", content, b")")
    runs = _strings(b"executable", b"") if kind == "program" else b""
    return _strings(b"(", b"type", b"regular") + runs + _strings(b"contents", content, b")")


def _pack(archive: tarfile.TarFile, tree: Tree, folder: str) -> None:
    for name, one in sorted(tree.items()):
        if isinstance(one, dict):
            _pack(archive, one, f"{folder}/{name}")
            continue
        kind, content = one
        member = tarfile.TarInfo(f"{folder}/{name}")
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, content.decode("utf-8", "surrogateescape")
            archive.addfile(member)
            continue
        member.size, member.mode = len(content), 0o755 if kind == "program" else 0o644
        archive.addfile(member, io.BytesIO(content))
