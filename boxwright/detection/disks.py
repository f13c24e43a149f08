"""Disks and the file systems on them: `lsblk -J -b` and `df`."""

from __future__ import annotations

import re
from typing import Any

from boxwright.detection.machine import Disk, FileSystem
from boxwright.detection.sections import UnreadableError, json_with

_DF_LINE = re.compile(r"(\S+)\s+([0-9]{1,19})\s+[0-9]+\s+(-?[0-9]{1,19})\s+\S+\s+(/.*)")
# Nothing is stored below these; what is mounted there from a disk is a single file of a container's host.
_NOT_FOR_DATA = re.compile(r"/(dev|etc|proc|run|sys)(/.*)?")


def disks(text: str) -> tuple[Disk, ...]:
    """Whole disks that have a size; loop devices, zram and empty card readers are none."""
    return tuple(
        _disk(row)
        for row in json_with(text, "blockdevices")
        if isinstance(row, dict) and row.get("type") == "disk" and _size(row) > 0
    )


def _disk(row: dict[str, Any]) -> Disk:
    children = _children(row)
    mounts = {mount for part in (row, *children) for mount in _mounts(part)}
    return Disk(
        name=_word(row.get("path")) or f"/dev/{_word(row.get('name'))}",
        bytes=_size(row),
        model=_word(row.get("model")),
        serial=_word(row.get("serial")),
        transport=_word(row.get("tran")),
        rotational=row.get("rota") in (True, "1"),
        holds_data=bool(children or mounts or row.get("fstype")),
        mounts=tuple(sorted(mounts)),
    )


def _children(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Partitions, RAID and LVM volumes on a disk, at every depth."""
    below = row.get("children")
    direct = [child for child in below if isinstance(child, dict)] if isinstance(below, list) else []
    return direct + [deeper for child in direct for deeper in _children(child)]


def _mounts(row: dict[str, Any]) -> list[str]:
    listed = row.get("mountpoints")
    one = row.get("mountpoint")  # before util-linux 2.37
    return [str(mount) for mount in (listed if isinstance(listed, list) else [one]) if mount]


def _size(row: dict[str, Any]) -> int:
    size = row.get("size")
    if isinstance(size, str) and re.fullmatch(r"[0-9]{1,19}", size):  # util-linux before 2.33 quotes numbers
        return int(size)
    return size if isinstance(size, int) and size >= 0 else 0


def _word(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def file_systems(text: str) -> tuple[FileSystem, ...]:
    """The mounted file systems for data: the root, whatever it lies on, and those on a disk."""
    found = []
    for line in text.splitlines():
        match = _DF_LINE.fullmatch(line.strip())
        if match and (match[4] == "/" or (match[1].startswith("/dev/") and not _NOT_FOR_DATA.fullmatch(match[4]))):
            size, free = int(match[2]), max(int(match[3]), 0)
            found.append(FileSystem(device=match[1], mount=match[4], bytes=size, free_bytes=free))
    if not found:
        raise UnreadableError("no file system for data")
    return tuple(found)
