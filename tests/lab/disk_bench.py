"""Disks of twins: sparse files behind loop devices of the controller, with names as a machine has, and with data."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from role_bench import Bench

from boxwright.lab import TwinSpec
from boxwright.model.hardware import Cpu, Hardware

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
DISKS = {"data": 64, "big": 320, "old": 64, "table": 64, "volume": 64, "bytes": 64}  # MiB; xfs takes no less than 300
STRANGERS = ("old", "table", "volume", "bytes")
IDS = "/dev/disk/by-id/ata-LAB_"

# A container has no udev. This stands in for it: names of the disks, and of the file systems that come up on them.
LINKS = """\
#!/bin/sh
pass() {
  mkdir -p /dev/disk/by-uuid /dev/disk/by-id/ata-LAB_file
  while read -r node name; do
    ln -sfn "../../$node" "/dev/disk/by-id/ata-LAB_$name"
    if uuid=$(blkid -p -s UUID -o value "/dev/$node"); then ln -sfn "../../$node" "/dev/disk/by-uuid/$uuid"; fi
  done < /etc/lab-disks
}
if [ "$1" = once ]; then pass; else while sleep 0.5; do pass; done; fi
"""
LINKS_UNIT = """\
[Unit]
DefaultDependencies=no
Before=local-fs-pre.target
Wants=local-fs-pre.target
[Service]
ExecStartPre=/usr/local/sbin/lab-links once
ExecStart=/usr/local/sbin/lab-links always
[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Disk:
    """A disk of one twin."""

    image: Path
    node: str

    def checksum(self) -> str:
        """Of all of it."""
        with self.image.open("rb") as image:
            return hashlib.file_digest(image, "sha256").hexdigest()

    def write(self, offset: int, content: bytes) -> None:
        """Put bytes on the disk, past all file systems."""
        with Path(self.node).open("r+b") as device:
            device.seek(offset)
            device.write(content)


class Disks(dict[tuple[str, str], Disk]):
    """By name of the twin and of the disk."""

    def named(self, *names: str) -> list[Disk]:
        """The disks of these names, of every twin."""
        return [disk for (_, name), disk in self.items() if name in names]

    def checksums(self, *names: str) -> list[str]:
        """Of the disks of these names, of every twin."""
        return [disk.checksum() for disk in self.named(*names)]


def attach(stack: ExitStack, folder: Path, twins: list[str]) -> Disks:
    """Make the disks of these twins; they are gone when the stack is closed."""
    disks = Disks()
    for twin in twins:
        for name, mebibytes in DISKS.items():
            image = folder / f"{twin}-{name}.img"
            with image.open("wb") as file:
                file.truncate(mebibytes << 20)
            command = ["losetup", "--find", "--show", "--partscan", str(image)]
            node = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            stack.callback(subprocess.run, ["losetup", "--detach", node], check=True)
            disks[twin, name] = Disk(image, node)
    return disks


def spec(name: str, distribution: Any, disks: Disks) -> TwinSpec:
    """A twin that may write to its disks."""
    nodes = tuple(Path(disk.node) for (twin, _), disk in disks.items() if twin == name)
    return TwinSpec(name, distribution, HARDWARE, devices=nodes)


def name_disks(bench: Bench, disks: Disks) -> None:
    """Have each twin know its disks by the names that a machine would know them by, also after a reboot."""
    for twin in bench.twins:
        table = "\n".join(f"{Path(disk.node).name} {name}" for (of, name), disk in disks.items() if of == twin.name)
        bench.on(
            twin,
            f"echo '{table}' > /etc/lab-disks; cat > /usr/local/sbin/lab-links <<'END'\n{LINKS}END\n"
            f"cat > /etc/systemd/system/lab-links.service <<'END'\n{LINKS_UNIT}END\n"
            "chmod +x /usr/local/sbin/lab-links; systemctl --quiet enable --now lab-links.service",
        )


def fill(bench: Bench, disks: Disks) -> None:
    """Give the strangers their data: a file system, a partition table, a member of LVM, and bytes of no known kind."""
    sector = bytearray(512)
    partition = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), 2048, 8192)
    sector[446:462], sector[510:] = partition, b"\x55\xaa"
    for disk in disks.named("table"):
        disk.write(0, bytes(sector))
        subprocess.run(["partx", "--add", disk.node], check=True)  # this kernel may be built without such tables
    for disk in disks.named("volume"):
        disk.write(512, lvm_label("x" * 32))
    for disk in disks.named("bytes"):
        disk.write((64 << 20) - 100, b"somebody's data")
    bench.everywhere(f"mkfs.ext4 -q -L old-data {IDS}old; mount {IDS}old /mnt; echo theirs > /mnt/file; umount /mnt")


def lvm_label(identity: str) -> bytes:
    """The second sector of a physical volume: its label, and the header that begins with its identity."""
    body = struct.pack("<I8s32s", 32, b"LVM2 001", identity.encode()).ljust(492, b"\0")
    crc = 0xF597A6CF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return struct.pack("<8sQI", b"LABELONE", 1, crc) + body
