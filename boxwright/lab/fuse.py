"""The part of the kernel's FUSE protocol that a tree of small files needs.

One thread answers one request after the other; nothing is cached by the kernel, so a read always sees the
last write. The numbers and layouts are those of `linux/fuse.h`, protocol 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ROOT = ""
_BUFFER = 1 << 18
_MAX_WRITE = 1 << 16
_DIRECT_IO = 1
_IN_HEADER = struct.Struct("<IIQQIIIHH")
_OUT_HEADER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("<QQQQII")
_READ = struct.Struct("<QQII")
_DIRENT = struct.Struct("<QQII")


class Tree(Protocol):
    """What is served. Paths are relative to the root, which is the empty string; errors are `OSError`."""

    def mode(self, path: str) -> int:
        """The type and permission bits, as in `st_mode`."""

    def names(self, path: str) -> list[str]:
        """The entries of a folder."""

    def read(self, path: str) -> bytes:
        """The whole content of a file."""

    def write(self, path: str, content: bytes) -> None:
        """Take the value that a program wrote by one `write(2)`."""


def mount(target: Path) -> int:
    """Mount a FUSE file system and return the descriptor on which the kernel asks.

    Raises:
        OSError: The kernel refuses.
    """
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    nosuid_nodev_noexec = 2 | 4 | 8
    if libc.mount(b"boxwright-twin", os.fsencode(target), b"fuse", nosuid_nodev_noexec, options.encode()):
        number = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(number, os.strerror(number), str(target))
    return descriptor


@dataclass
class Server:
    """Answers the kernel until the file system is unmounted."""

    descriptor: int
    tree: Tree
    _paths: list[str] = field(default_factory=lambda: ["", ROOT])  # node id → path; the root is node 1
    _nodes: dict[str, int] = field(default_factory=lambda: {ROOT: 1})

    def serve(self) -> None:
        """Answer until the file system is gone."""
        while True:
            try:
                request = os.read(self.descriptor, _BUFFER)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):  # ENOENT: the asker gave up
                    continue
                return
            if not request:
                return
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(request)
        if opcode in _SILENT:
            return
        error, reply = 0, b""
        handler = _HANDLERS.get(opcode, Server._refuse)
        try:
            reply = handler(self, node, memoryview(request)[_IN_HEADER.size :])
        except OSError as refused:
            error = -(refused.errno or errno.EIO)
        except (ValueError, IndexError, struct.error):
            error = -errno.EIO
        header = _OUT_HEADER.pack(_OUT_HEADER.size + len(reply), error, unique)
        with suppress(OSError):  # the asker may be gone by now
            os.write(self.descriptor, header + reply)

    def _node(self, path: str) -> int:
        node = self._nodes.get(path)
        if node is None:
            node = self._nodes[path] = len(self._paths)
            self._paths.append(path)
        return node

    def _attributes(self, node: int) -> bytes:
        mode = self.tree.mode(self._paths[node])
        links = 2 if stat.S_ISDIR(mode) else 1
        return _ATTRIBUTES.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)

    def _lookup(self, node: int, body: memoryview) -> bytes:
        name = bytes(body).rstrip(b"\0").decode("utf-8", "surrogateescape")
        if name not in self.tree.names(self._paths[node]):
            raise OSError(errno.ENOENT, name)
        child = self._node(f"{self._paths[node]}/{name}".lstrip("/"))
        return _ENTRY.pack(child, 0, 0, 0, 0, 0) + self._attributes(child)

    def _getattr(self, node: int, _body: memoryview) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attributes(node)

    def _open(self, _node: int, _body: memoryview) -> bytes:
        return struct.pack("<QII", 0, _DIRECT_IO, 0)

    def _read(self, node: int, body: memoryview) -> bytes:
        _, offset, size, _ = _READ.unpack_from(body)
        return self.tree.read(self._paths[node])[offset : offset + size]

    def _write(self, node: int, body: memoryview) -> bytes:
        _, offset, size, _ = _READ.unpack_from(body)
        if offset == 0:  # the kernel, too, takes a sysctl's value from the first write only
            self.tree.write(self._paths[node], bytes(body[40 : 40 + size]))
        return struct.pack("<II", size, 0)

    def _readdir(self, node: int, body: memoryview) -> bytes:
        _, offset, size, _ = _READ.unpack_from(body)
        folder = self._paths[node]
        reply = b""
        for index, name in enumerate(self.tree.names(folder)):
            if index < offset:
                continue
            path = f"{folder}/{name}".lstrip("/")
            raw = name.encode("utf-8", "surrogateescape")
            kind = stat.S_IFMT(self.tree.mode(path)) >> 12
            entry = _DIRENT.pack(self._node(path), index + 1, len(raw), kind) + raw
            entry += b"\0" * (-len(entry) % 8)
            if len(reply) + len(entry) > size:
                break
            reply += entry
        return reply

    def _init(self, _node: int, body: memoryview) -> bytes:
        major, minor, readahead, _ = struct.unpack_from("<IIII", body)
        if (major, minor) < (7, 31):
            raise OSError(errno.EPROTO, "kernel older than 5.4")
        background, congested, nanoseconds = 16, 12, 1
        limits = struct.pack("<HHIIHH", background, congested, _MAX_WRITE, nanoseconds, 0, 0)
        return struct.pack("<IIII", 7, 31, readahead, 0) + limits + bytes(32)

    def _statfs(self, _node: int, _body: memoryview) -> bytes:
        return struct.pack("<5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)

    def _refuse(self, _node: int, _body: memoryview) -> bytes:
        raise OSError(errno.ENOSYS, "not a request of a tree of small files")

    def _nothing(self, _node: int, _body: memoryview) -> bytes:
        return b""


_SILENT = {2, 36, 42}  # FORGET, INTERRUPT and BATCH_FORGET want no reply
_HANDLERS: dict[int, Callable[[Server, int, memoryview], bytes]] = {
    1: Server._lookup,
    3: Server._getattr,
    4: Server._getattr,  # SETATTR: a program truncates before it writes, which means nothing to a sysctl
    14: Server._open,
    15: Server._read,
    16: Server._write,
    17: Server._statfs,
    18: Server._nothing,  # RELEASE
    25: Server._nothing,  # FLUSH
    26: Server._init,
    27: Server._open,  # OPENDIR
    28: Server._readdir,
    29: Server._nothing,  # RELEASEDIR
    38: Server._nothing,  # DESTROY
}
