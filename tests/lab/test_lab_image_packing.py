"""The packer of images makes the same disk of the same tree, in whatever order and whenever that was written."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.factory.image import disk, filesystem, tools
from boxwright.factory.image.identity import Identity
from boxwright.factory.image.normalising import normalise

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

IDENTITY = Identity("a" * 64, 1_700_000_000)
TOOL, KERNEL, INITRD = "usr/lib/systemd/boot/efi/systemd-bootx64.efi", "boot/vmlinuz-6.1", "boot/initrd.img-6.1"
# Packs in a mount namespace of its own, as the builder does: what a failure leaves mounted vanishes.
PACK = """
import sys
from pathlib import Path
from boxwright.factory.image import disk, filesystem
from boxwright.factory.image.identity import Identity
tree, to = map(Path, sys.argv[1:3])
identity = Identity(*eval(sys.argv[3]))
for name in ("look", "esp.fat", "root.ext4"):
    assert not (to / name).exists()
(to / "look").mkdir()
layout = disk.Layout(root_mib=filesystem.size_mib(tree))
filesystem.write(tree, to / "root.ext4", layout.root_mib, identity, to / "look")
disk.write_boot_partition(disk.boot_partition(tree, identity), to / "esp.fat", identity)
disk.assemble(to / "disk.raw", to / "esp.fat", to / "root.ext4", layout, identity)
"""


def writers(tree: Path) -> list[Callable[[], None]]:
    """What makes the tree, each of which can come at any time."""

    def file(place: str, size: int, mode: int = 0o644, owner: int = 0) -> Callable[[], None]:
        def write() -> None:
            path = tree / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.Random(place).randbytes(size))  # noqa: S311  the same bytes each time
            os.chown(path, owner, owner)
            path.chmod(mode)

        return write

    def link() -> None:
        (tree / "etc").mkdir(parents=True, exist_ok=True)
        (tree / "etc/link").symlink_to("../usr/share/0")

    many = [file(f"usr/share/{number}", number * 37) for number in range(300)]
    return [
        *many,
        file("etc/shadow", 0, 0o640, 42),
        file("opt/model.gguf", 3 << 20),
        file("usr/bin/sudo", 5000, 0o4755),
        file(TOOL, 100_000),
        file(KERNEL, 1 << 20),
        file(INITRD, 2 << 20),
        link,
    ]


def packed(folder: Path, seed: int) -> str:
    """The digest of a disk of a tree that was written in an order of its own."""
    tree, to = folder / "tree", folder / "to"
    for one in (tree, to):
        one.mkdir(parents=True)
    order = writers(tree)
    random.Random(seed).shuffle(order)  # noqa: S311  the same order each time
    for write in order:
        write()
    (tree / "usr/share/scratch").write_bytes(b"x" * (seed * 100_000))  # what was there for a while leaves its mark
    (tree / "usr/share/scratch").unlink()
    os.link(tree / "usr/share/7", tree / "usr/share/7-too")
    subprocess.run(["setcap", "cap_net_raw+ep", str(tree / "usr/share/8")], check=True)
    for path in tree.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    normalise(tree, IDENTITY.epoch)
    inside = ["unshare", "--mount", "--propagation", "slave", sys.executable, "-c", PACK]
    identity = repr((IDENTITY.lock_sha256, IDENTITY.epoch))
    subprocess.run([*inside, str(tree), str(to), identity], check=True)
    return hashlib.sha256((to / "disk.raw").read_bytes()).hexdigest()


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    tools.ensure(print)


def test_the_order_of_writing_does_not_show_in_the_disk(tmp_path: Path) -> None:
    digests = {packed(tmp_path / str(seed), seed) for seed in (1, 2, 3)}
    assert len(digests) == 1


def test_the_disk_holds_what_the_tree_held(tmp_path: Path) -> None:
    packed(tmp_path, 1)
    root, esp = tmp_path / "to/root.ext4", tmp_path / "to/esp.fat"
    checked = subprocess.run(["e2fsck", "-fn", str(root)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout

    def asked(request: str) -> str:
        return subprocess.run(["debugfs", "-R", request, str(root)], capture_output=True, text=True, check=True).stdout

    assert "Mode:  04755" in asked("stat /usr/bin/sudo")
    assert "User:    42" in asked("stat /etc/shadow")
    assert "Links: 2" in asked("stat /usr/share/7-too")
    assert "security.capability" in asked("ea_list /usr/share/8")
    assert 'Fast link dest: "../usr/share/0"' in asked("stat /etc/link")
    shown = asked("stat /opt/model.gguf")
    assert f"ctime: 0x{IDENTITY.epoch:08x}" in shown
    assert f"atime: 0x{IDENTITY.epoch:08x}" in shown
    subprocess.run(["debugfs", "-R", f"dump /opt/model.gguf {tmp_path}/back", str(root)], check=True)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "tree/opt/model.gguf").read_bytes()
    kernel = subprocess.run(
        ["mcopy", "-i", str(esp), f"::{disk.TOKEN}/6.1/linux", "-"], capture_output=True, check=True
    ).stdout
    assert kernel == (tmp_path / "tree" / KERNEL).read_bytes()
    table = subprocess.run(
        ["sfdisk", "--dump", str(tmp_path / "to/disk.raw")], capture_output=True, text=True, check=True
    )
    assert IDENTITY.disk.upper() in table.stdout.upper()
    assert len([line for line in table.stdout.splitlines() if "type=" in line]) == 2
    assert filesystem.size_mib(tmp_path / "tree") < 600
