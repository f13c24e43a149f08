"""The disk: a partition table, a partition that firmware boots from with systemd-boot, and the root filesystem."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import BoxwrightError
from boxwright.factory.image.identity import Identity
from boxwright.lab.commands import run

ESP_MOUNT = "/boot/efi"
TOKEN = "boxwright"  # noqa: S105  of kernel-install: the folder and the prefix of our boot entries
KERNEL_ARGUMENTS = "rw console=tty0 console=ttyS0,115200"
ESP_MIB = 512  # several kernels with their initramfs, as they are upgraded
_MIB = 1 << 20
_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
_LOADERS = (_LOADER, f"{_LOADER}.signed")  # of Debian 12, and of Debian 13, which has it in a package of its own
_ESP, _ROOT = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # UEFI, root on x86-64


@dataclass(frozen=True)
class Layout:
    """Where the partitions are, in MiB."""

    root_mib: int

    @property
    def root_at(self) -> int:
        """Where the root filesystem begins."""
        return 1 + ESP_MIB

    @property
    def disk_mib(self) -> int:
        """The whole disk: the table has a copy at the end."""
        return self.root_at + self.root_mib + 1


def table(layout: Layout, identity: Identity) -> str:
    """The partition table, as sfdisk reads it."""
    return (
        f"label: gpt\nlabel-id: {identity.disk}\nunit: sectors\nsector-size: 512\n"
        f"start={_sectors(1)}, size={_sectors(ESP_MIB)}, type={_ESP}, uuid={identity.esp}, name=esp\n"
        f"start={_sectors(layout.root_at)}, size={_sectors(layout.root_mib)}, type={_ROOT}, uuid={identity.root}, "
        "name=root\n"
    )


def boot_partition(tree: Path, identity: Identity) -> dict[str, Path | bytes]:
    """What is on the partition that firmware boots from: where, and from which file of the tree, or as which bytes.

    It is what `kernel-install` writes, so that a kernel's upgrade and removal go on from it.

    Raises:
        BoxwrightError: The tree has no kernel, or no boot loader.
    """
    kernels = sorted(path.name.removeprefix("vmlinuz-") for path in (tree / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise BoxwrightError("the system has no kernel", where=str(tree / "boot"))
    loader = next((tree / place for place in _LOADERS if (tree / place).is_file()), None)
    if loader is None:
        raise BoxwrightError("the system has no boot loader", where=str(tree / _LOADER))
    release = kernels[-1]
    folder = f"{TOKEN}/{release}"
    entry = (
        f"title      Boxwright\nversion    {release}\nsort-key   debian\n"
        f"options    root=UUID={identity.filesystem} {KERNEL_ARGUMENTS}\n"
        f"linux      /{folder}/linux\ninitrd     /{folder}/initrd.img-{release}\n"
    )
    return {
        "EFI/BOOT/BOOTX64.EFI": loader,
        "EFI/systemd/systemd-bootx64.efi": loader,
        "loader/entries.srel": b"type1\n",
        f"loader/entries/{TOKEN}-{release}.conf": entry.encode(),
        "loader/loader.conf": b"timeout 2\nconsole-mode keep\neditor no\n",
        f"{folder}/initrd.img-{release}": tree / f"boot/initrd.img-{release}",
        f"{folder}/linux": tree / f"boot/vmlinuz-{release}",
    }


def write_boot_partition(files: Mapping[str, Path | bytes], target: Path, identity: Identity) -> None:
    """Make the FAT filesystem of the boot partition, in a file of its own.

    Raises:
        LabError: mkfs.vfat or mtools failed.
    """
    drafts = target.with_name(f"{target.name}.files")
    drafts.mkdir()
    dated = ["env", "TZ=UTC", f"SOURCE_DATE_EPOCH={identity.epoch}", "MTOOLS_SKIP_CHECK=1"]
    with target.open("wb") as file:
        file.truncate(ESP_MIB * _MIB)
    run([*dated, "mkfs.vfat", "--invariant", "-F", "32", "-n", "ESP", "-i", identity.volume, str(target)])
    for folder in folders(files):
        run([*dated, "mmd", "-i", str(target), f"::{folder}"])
    for number, (place, source) in enumerate(sorted(files.items())):
        draft = drafts / str(number)
        if isinstance(source, bytes):
            draft.write_bytes(source)
        else:
            shutil.copyfile(source, draft)
        os.utime(draft, (identity.epoch, identity.epoch))
        run([*dated, "mcopy", "-m", "-i", str(target), str(draft), f"::{place}"], timeout=600)
    shutil.rmtree(drafts)


def folders(places: Mapping[str, object]) -> Iterator[str]:
    """The folders of these files, each behind the one that it is in."""
    found = {str(parent) for place in places for parent in Path(place).parents if str(parent) != "."}
    yield from sorted(found)


def assemble(target: Path, esp: Path, root: Path, layout: Layout, identity: Identity) -> None:
    """Put a disk together, of its table and its two partitions. What is empty takes no room in the file.

    Raises:
        LabError: sfdisk or dd failed.
    """
    with target.open("wb") as file:
        file.truncate(layout.disk_mib * _MIB)
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(target)], stdin=table(layout, identity))
    for part, begin in ((esp, 1), (root, layout.root_at)):
        places = [f"if={part}", f"of={target}", "bs=1M", f"seek={begin}"]
        run(["dd", *places, "conv=notrunc,sparse", "status=none"], timeout=1800)


def _sectors(mib: int) -> int:
    return mib * _MIB // 512
