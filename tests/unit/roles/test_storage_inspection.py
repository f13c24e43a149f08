"""What the role storage makes of the kernel's files: which disks the system lies on, what a device holds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/storage/files/inspect_disks.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("inspect_disks", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "inspect_disks", module)  # dataclasses look themselves up there
        spec.loader.exec_module(module)
    return module


class Kernel:
    """A /sys with block devices; those given as `slaves` lie below a device."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev/block").mkdir(parents=True)

    def disk(self, name: str, number: str, *, slaves: tuple[str, ...] = (), parent: str = "") -> None:
        folder = self.root / "devices" / parent / name
        (folder / "slaves").mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        for slave in slaves:
            (folder / "slaves" / slave).symlink_to(next((self.root / "devices").rglob(slave)))
        (self.root / "dev/block" / number).symlink_to(folder)

    def partition(self, name: str, number: str, disk: str) -> None:
        self.disk(name, number, parent=disk)
        (self.root / "devices" / disk / name / "partition").write_text("1\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Two disks in a mirror with LVM on it, a disk of its own, and one with Btrfs over two."""
    made = Kernel(tmp_path)
    for letter, minor in (("a", 0), ("b", 16), ("c", 32), ("d", 48), ("e", 64)):
        made.disk(f"sd{letter}", f"8:{minor}")
    made.partition("sda2", "8:2", "sda")
    made.partition("sdb2", "8:18", "sdb")
    made.partition("sdb1", "8:17", "sdb")
    made.disk("md0", "9:0", slaves=("sda2", "sdb2"))
    made.disk("dm-0", "253:0", slaves=("md0",))
    return made


def mountinfo(number: str, target: str, source: str) -> str:
    return f"36 35 {number} / {target} rw,noatime shared:1 - ext4 {source} rw"


@pytest.mark.parametrize(
    ("number", "disks"),
    [("8:32", {"sdc"}), ("8:2", {"sda"}), ("9:0", {"sda", "sdb"}), ("253:0", {"sda", "sdb"}), ("0:33", set())],
)
def test_disks_below_go_through_partitions_raid_and_lvm(
    script: Any, kernel: Kernel, number: str, disks: set[str]
) -> None:
    assert script.disks_below(number, kernel.root) == disks


def test_the_system_lies_on_every_disk_of_root_and_boot(script: Any, kernel: Kernel) -> None:
    text = [mountinfo("253:0", "/", "/dev/mapper/vg-root"), mountinfo("8:32", "/boot", "/dev/sdc")]
    assert script.system_disks(script.parse_mounts(text[0]), kernel.root) == {"sda", "sdb"}
    assert script.system_disks(script.parse_mounts("\n".join(text)), kernel.root) == {"sda", "sdb", "sdc"}
    data = mountinfo("8:48", "/srv", "/dev/sdd")
    assert script.system_disks(script.parse_mounts("\n".join([text[1], text[0], data])), kernel.root) == {
        "sda",
        "sdb",
        "sdc",
    }


def test_a_system_on_btrfs_lies_on_all_of_its_devices(
    script: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = kernel.root / "fs/btrfs/0b1c/devices"
    devices.mkdir(parents=True)
    for name in ("sdd", "sde"):
        (devices / name).symlink_to(kernel.root / "devices" / name)
    monkeypatch.setattr(script, "number_of", {"/dev/sdd": "8:48"}.get)
    root = script.parse_mounts(mountinfo("0:28", "/", "/dev/sdd"))
    assert script.system_disks(root, kernel.root) == {"sdd", "sde"}


@pytest.mark.parametrize("source", ["overlay", "rpool/ROOT/debian", "/dev/root"])
def test_a_root_on_no_known_disk_is_told_as_none(script: Any, kernel: Kernel, source: str) -> None:
    assert script.system_disks(script.parse_mounts(mountinfo("0:28", "/", source)), kernel.root) == set()


def test_mounts_are_read_with_their_escapes(script: Any) -> None:
    read = script.parse_mounts(mountinfo("8:48", r"/mnt/two\040words", r"//server/a\134b"))
    assert read == [script.Mount("8:48", "/mnt/two words", "//server/a\\b")]


@pytest.mark.parametrize(
    ("path", "number"),
    [("/", "8:2"), ("/srv", "8:2"), ("/srv/models", "8:48"), ("/srv/models/x", "8:48"), ("/srv/models2", "8:2")],
)
def test_a_folder_lies_on_the_deepest_mount_and_the_last_made(script: Any, path: str, number: str) -> None:
    text = "\n".join(
        [
            mountinfo("8:2", "/", "/dev/sda2"),
            mountinfo("8:32", "/srv/models", "/dev/sdc"),
            mountinfo("8:48", "/srv/models", "/dev/sdd"),
        ]
    )
    assert script.mount_of(path, script.parse_mounts(text)).number == number


def test_the_nearest_existing_folder_is_the_one_behind_links(script: Any, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert script.nearest_existing(f"{tmp_path}/link/a/b") == f"{tmp_path}/there"


def test_a_partition_table_is_told_once(script: Any) -> None:
    found = [
        {"type": "gpt", "usage": "partition-table", "label": None},
        {"type": "gpt", "usage": "partition-table", "label": None},
        {"type": "PMBR", "usage": "partition-table", "label": None},
        {"type": "ext4", "usage": "filesystem", "label": "old"},
        {"type": "LVM2_member", "usage": "raid", "label": None},
    ]
    assert script.signature_texts(found) == ["a gpt partition table", "ext4 labelled 'old'", "LVM2_member"]


@pytest.mark.parametrize(("offset", "there"), [(None, False), (0, True), (700 << 10, True), (2 << 20, False)])
def test_bytes_in_the_first_or_last_mebibyte_are_seen(
    script: Any, tmp_path: Path, offset: int | None, there: bool
) -> None:
    image, size = tmp_path / "disk", 4 << 20
    with image.open("wb") as file:
        file.truncate(size)
        if offset is not None:
            file.seek(offset)
            file.write(b"x")
    assert script.has_bytes(str(image), size) is there
    with image.open("r+b") as file:
        file.seek(size - 1)
        file.write(b"x")
    assert script.has_bytes(str(image), size)


def test_a_disk_is_called_by_model_and_serial_number(script: Any) -> None:
    names = ["nvme-eui.0025385b", "nvme-SAMSUNG_MZ_S64", "wwn-0x5002538e"]
    assert script.best_link([f"/dev/disk/by-id/{name}" for name in names]) == "/dev/disk/by-id/nvme-SAMSUNG_MZ_S64"
    assert script.best_link(["/dev/disk/by-id/wwn-0x5002538e"]) == "/dev/disk/by-id/wwn-0x5002538e"


@pytest.mark.parametrize(
    ("count", "text"), [(67108864, "67.1 MB"), (960197124096, "960 GB"), (3840755982336, "3.84 TB"), (0, "0 MB")]
)
def test_sizes_are_those_of_the_label(script: Any, count: int, text: str) -> None:
    assert script.size_text(count) == text
