"""The layout of a disk, and what firmware finds on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError
from boxwright.factory.image.base_root import boot_files
from boxwright.factory.image.disk import Layout, boot_partition, folders, table
from boxwright.factory.image.first_boot import place, texts
from boxwright.factory.image.identity import Identity

IDENTITY = Identity("a" * 64, 1_700_000_000)
KEY = "ssh-ed25519 AAAA"


LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place_ in ("boot/vmlinuz-6.1", "boot/initrd.img-6.1", LOADER):
        (tmp_path / place_).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place_).write_text(place_)
    return tmp_path


def test_partitions_follow_each_other_and_leave_room_for_both_tables() -> None:
    layout = Layout(root_mib=1000)
    lines = table(layout, IDENTITY).splitlines()
    assert f"start=2048, size={512 * 2048}" in lines[-2]
    assert f"start={513 * 2048}, size={1000 * 2048}" in lines[-1]
    assert layout.disk_mib == 1 + 512 + 1000 + 1
    assert f"uuid={IDENTITY.root}" in lines[-1]


def test_the_kernel_that_boots_finds_the_filesystem_that_is_made(tree: Path) -> None:
    files = boot_partition(tree, IDENTITY)
    entry = files["loader/entries/boxwright-6.1.conf"]
    assert isinstance(entry, bytes)
    assert f"root=UUID={IDENTITY.filesystem} " in entry.decode()
    assert f"UUID={IDENTITY.filesystem} / ext4" in boot_files(IDENTITY)["etc/fstab"]
    assert boot_files(IDENTITY)["etc/kernel/cmdline"].split()[0] == f"root=UUID={IDENTITY.filesystem}"
    for word in ("linux", "initrd"):
        (named,) = (line.split()[1] for line in entry.decode().splitlines() if line.startswith(word))
        assert named.lstrip("/") in files


def test_folders_come_before_what_is_in_them(tree: Path) -> None:
    made = list(folders(boot_partition(tree, IDENTITY)))
    assert made == sorted(made)
    assert made[:2] == ["EFI", "EFI/BOOT"]


def test_a_system_without_a_kernel_is_no_image(tree: Path) -> None:
    (tree / "boot/vmlinuz-6.1").unlink()
    with pytest.raises(BoxwrightError, match="no kernel"):
        boot_partition(tree, IDENTITY)


def test_the_loader_is_found_as_debian_13_calls_it(tree: Path) -> None:
    signed = (tree / LOADER).rename(tree / f"{LOADER}.signed")
    assert boot_partition(tree, IDENTITY)["EFI/BOOT/BOOTX64.EFI"] == signed
    signed.unlink()
    with pytest.raises(BoxwrightError, match="no boot loader"):
        boot_partition(tree, IDENTITY)


def test_a_box_is_nobody_until_its_first_boot(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123\n")
    (tmp_path / "etc/hosts").write_text("10.0.0.1 builder\n")
    for _ in range(2):
        place(tmp_path, IDENTITY, KEY)
    assert (tmp_path / "etc/machine-id").read_text() == ""
    assert "builder" not in (tmp_path / "etc/hosts").read_text()
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == f"{KEY}\n"
    assert (tmp_path / "root/.ssh").stat().st_mode & 0o777 == 0o700
    for path, _, mode in texts(IDENTITY, KEY):
        assert (tmp_path / path).stat().st_mode & 0o777 == mode, path
    wants = tmp_path / "etc/systemd/system/ssh.service.requires/boxwright-first-boot.service"
    assert (tmp_path / str(wants.readlink()).lstrip("/")).is_file()
