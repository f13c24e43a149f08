"""Tells what the disks of this machine are and hold, as JSON. It judges nothing and writes nothing.

    python3 - REQUEST < inspect_disks.py

REQUEST is JSON: `file_system`, `file_systems` (name, device, mount_point) and `folders`. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYS = Path("/sys")
LABEL_LENGTH = {"ext4": 16, "xfs": 12}
SYSTEM_FOLDERS = ("/", "/boot", "/boot/efi")
MIB = 1 << 20


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo. `number` is the file system's, "major:minor"."""

    number: str
    target: str
    source: str


def parse_mounts(text: str) -> list[Mount]:
    """The mounts, in the order in which they were made."""
    mounts = []
    for line in text.splitlines():
        left, right = line.split(" - ", 1)
        number, target, source = left.split()[2], left.split()[4], right.split()[1]
        mounts.append(Mount(number, unescaped(target), unescaped(source)))
    return mounts


def unescaped(text: str) -> str:
    r"""A field of mountinfo or swaps, where a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount:
    """The mount that a path lies on: the deepest, and of several at one place the last."""
    above = [one for one in mounts if path == one.target or path.startswith(one.target.rstrip("/") + "/")]
    return max(enumerate(above), key=lambda pair: (len(pair[1].target), pair[0]))[1]


def nearest_existing(path: str) -> str:
    """A path without symbolic links, or the nearest folder above it that exists."""
    there = Path(path).resolve()
    while not there.exists():
        there = there.parent
    return str(there)


def size_text(count: int) -> str:
    """A size as it stands on a disk's label."""
    for unit, each in (("TB", 10**12), ("GB", 10**9)):
        if count >= each:
            return f"{count / each:.3g} {unit}"
    return f"{count / 10**6:.3g} MB"


def number_of(path: str | Path) -> str | None:
    """The "major:minor" of a block device; none where there is none."""
    try:
        there = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return f"{os.major(there.st_rdev)}:{os.minor(there.st_rdev)}" if stat.S_ISBLK(there.st_mode) else None


def folder_of(number: str, sys_root: Path = SYS) -> Path:
    """The kernel's folder of a block device."""
    return (sys_root / "dev/block" / number).resolve()


def read(path: Path) -> str:
    """The text of a file of /sys; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def names(folder: Path) -> list[str]:
    """What is in a folder of /sys, sorted; nothing where there is none."""
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def disks_below(number: str, sys_root: Path = SYS) -> set[str]:
    """The names of the disks that a block device lies on, through partitions, RAID, LVM and encryption."""
    folder = folder_of(number, sys_root)
    if not folder.is_dir():
        return set()
    if (folder / "partition").exists():
        return disks_below(read(folder.parent / "dev"), sys_root)
    below = [disks_below(read(folder / "slaves" / name / "dev"), sys_root) for name in names(folder / "slaves")]
    return set().union(*below) if below else {folder.name}


def numbers_of_mount(mount: Mount, sys_root: Path = SYS) -> set[str]:
    """The block devices of a mounted file system. Btrfs has a number of its own, and may have several devices."""
    if folder_of(mount.number, sys_root).is_dir():
        return {mount.number}
    number = number_of(mount.source) if mount.source.startswith("/") else None
    if number is None:
        return set()
    together = {number}
    for file_system in (sys_root / "fs/btrfs").glob("*/devices"):
        members = {read(file_system / name / "dev") for name in names(file_system)}
        if number in members:
            together |= members
    return together


def system_disks(mounts: list[Mount], sys_root: Path = SYS) -> set[str]:
    """The names of the disks that the system lies on; none where its root is no disk's, as in a container."""
    system = {mount_of(folder, mounts) for folder in SYSTEM_FOLDERS}
    numbers = set().union(*(numbers_of_mount(mount, sys_root) for mount in system))
    return set().union(*(disks_below(number, sys_root) for number in numbers))


def signatures(path: str) -> list[dict[str, Any]]:
    """What wipefs recognizes on a device: file systems, members of RAID and LVM, partition tables."""
    columns = "DEVICE,OFFSET,TYPE,USAGE,UUID,LABEL"
    told = subprocess.run(
        ["wipefs", "--no-act", "--json", "--output", columns, path], capture_output=True, text=True, check=False
    )
    if told.returncode != 0:
        raise OSError(told.stderr.strip())
    return json.loads(told.stdout)["signatures"] if told.stdout.strip() else []


def signature_texts(found: list[dict[str, Any]]) -> list[str]:
    """Signatures in words, each once: a partition table has up to three."""
    texts = []
    types = {one["type"] for one in found}
    for one in found:
        if one["type"] == "PMBR" and "gpt" in types:
            continue
        if one["usage"] == "partition-table":
            texts.append(f"a {one['type']} partition table")
        else:
            texts.append(one["type"] + (f" labelled '{one['label']}'" if one.get("label") else ""))
    return list(dict.fromkeys(texts))


def has_bytes(path: str, size: int) -> bool:
    """Whether the first or the last MiB has anything but zeros."""
    with Path(path).open("rb") as disk:
        for offset in (0, max(0, size - MIB)):
            disk.seek(offset)
            if any(disk.read(MIB)):
                return True
    return False


def is_claimed(path: str) -> bool:
    """Whether the kernel lets nobody else have the device: also where another namespace has it mounted."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def read_swaps() -> set[str]:
    """The numbers of the block devices that are in use as swap."""
    paths = (unescaped(line.split()[0]) for line in Path("/proc/swaps").read_text().splitlines()[1:])
    return {number for number in map(number_of, paths) if number}


@dataclass(frozen=True)
class Machine:
    """What is read once for all disks."""

    mounts: list[Mount]
    swaps: set[str]
    system: set[str]

    def targets(self, number: str) -> list[str]:
        """Where a device is mounted."""
        return [one.target for one in self.mounts if number in {one.number, number_of(one.source)}]

    def users(self, number: str) -> list[str]:
        """What has a device in use, in words."""
        holders = names(folder_of(number) / "holders")
        return [
            *(f"mounted at {target}" for target in self.targets(number)),
            *(["in use as swap"] if number in self.swaps else []),
            *(f"used by {name}" for name in holders),
        ]


def partitions(number: str) -> list[tuple[str, str]]:
    """Paths and numbers of a disk's partitions."""
    folder = folder_of(number)
    found = [name for name in names(folder) if (folder / name / "partition").exists()]
    return [(f"/dev/{name}", read(folder / name / "dev")) for name in found]


def part_signatures(path: str, number: str) -> list[str]:
    """What a partition holds, in words. A container may not have its device, and an extended one has no contents."""
    try:
        return signature_texts(signatures(path)) if number_of(path) == number else []
    except OSError:
        return []


def inspect(path: str, machine: Machine) -> dict[str, Any]:
    """What a block device is and holds. `holds` and `users` are words for people, empty where there is nothing."""
    number = number_of(path)
    if number is None:
        return {"block": False, "exists": os.path.lexists(path)}
    real = os.path.realpath(path)
    size = int(read(folder_of(number) / "size") or 0) * 512
    found = signatures(real)
    holds, users, parts = signature_texts(found), machine.users(number), partitions(number)
    holds += users
    for part, part_number in parts:
        inside = machine.users(part_number)
        held = part_signatures(part, part_number) + inside
        holds.append(f"partition {part}" + (f" ({', '.join(held)})" if held else ""))
        users += [f"partition {part} {use}" for use in inside]
    if not users and is_claimed(real):
        users = ["something that does not show here: another namespace, or a pool of several disks"]
        holds.append(f"in use by {users[0]}")
    if not holds and has_bytes(real, size):
        holds = ["bytes of no known kind in its first or last MiB"]
    return {
        "block": True,
        "exists": True,
        "real": real,
        "size": size_text(size),
        "system": bool(disks_below(number) & machine.system),
        "signatures": found,
        "partitions": [part for part, _ in parts],
        "mounted_at": machine.targets(number),
        "users": users,
        "holds": holds,
    }


def best_link(links: Iterable[str]) -> str:
    """Of a disk's stable names the one that a person recognizes: model and serial number, not a bare number."""
    bare = re.compile(r".*/(wwn-|nvme-eui|nvme-nvme|scsi-[0-9]|lvm-|md-uuid)")
    return min(links, key=lambda link: (bool(bare.match(link)), link))


def candidates(machine: Machine) -> Iterator[str]:
    """Each disk that has a stable name, and what is known of it, in words."""
    by_number: dict[str, list[str]] = {}
    for folder in ("by-id", "by-path"):
        for link in names(Path("/dev/disk", folder)):
            number = number_of(f"/dev/disk/{folder}/{link}")
            if number and not (folder_of(number) / "partition").exists():
                by_number.setdefault(number, []).append(f"/dev/disk/{folder}/{link}")
    for links in by_number.values():
        ids = [link for link in links if link.startswith("/dev/disk/by-id/")]
        name = best_link(ids or links)
        try:
            disk = inspect(name, machine)
        except OSError as error:
            yield f"{name} (cannot be read: {error})"
            continue
        if disk["size"] != size_text(0):
            held = f"holds {', '.join(disk['holds'])}" if disk["holds"] else "blank"
            yield f"{name} ({disk['size']}, {'the disk of the system' if disk['system'] else held})"


def place(mount_point: str, real: str | None, machine: Machine) -> dict[str, Any]:
    """What is at a mount point now."""
    there = [one for one in machine.mounts if one.target == mount_point]
    source = there[-1].source if there else None
    in_place = bool(there and real and number_of(real) in {there[-1].number, number_of(there[-1].source)})
    folder = Path(mount_point)
    contents = []
    if not there and folder.is_dir():
        contents = names(folder)
    elif not there and os.path.lexists(mount_point):
        contents = ["a file of that name"]
    return {
        "in_place": in_place,
        "occupied_by": None if in_place else source,
        "contents": contents,
        "canonical": os.path.realpath(mount_point),
    }


def file_system(wanted: dict[str, str], kind: str, machine: Machine) -> dict[str, Any]:
    """A wanted file system, its disk, and its mount point."""
    label = f"BOXWRIGHT-{wanted['name']}"[: LABEL_LENGTH[kind]]
    disk = inspect(wanted["device"], machine)
    own = [one for one in disk.get("signatures", ()) if (one["type"], one.get("label")) == (kind, label)]
    escape = ["systemd-escape", "--path", "--suffix=mount", wanted["mount_point"]]
    now = place(wanted["mount_point"], disk.get("real"), machine)
    is_own = bool(own) and not disk["partitions"]
    return {
        **wanted,
        **disk,
        **now,
        "label": label,
        "own": is_own,
        "settled": is_own and now["in_place"] and not disk["system"],
        "uuid": own[0]["uuid"] if own else None,
        "unit": subprocess.run(escape, capture_output=True, text=True, check=True).stdout.strip(),
    }


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that was asked for."""
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    machine = Machine(mounts, read_swaps(), system_disks(mounts))
    root = mount_of("/", mounts).number
    container = subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False).returncode == 0
    return {
        "container": container,
        "system": sorted(machine.system),
        "file_systems": [file_system(one, request["file_system"], machine) for one in request["file_systems"]],
        "candidates": list(candidates(machine)),
        "on_root": [one for one in request["folders"] if mount_of(nearest_existing(one), mounts).number == root],
    }


if __name__ == "__main__":
    try:
        answer = main(json.loads(sys.argv[1]))
    except OSError as problem:
        sys.exit(f"A disk cannot be read: {problem}")
    json.dump(answer, sys.stdout)
