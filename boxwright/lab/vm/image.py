"""The disk that every VM twin of a distribution starts from: the twins' root filesystem with a kernel of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from boxwright.lab import rootfs
from boxwright.lab.commands import locked, remove_tree, run
from boxwright.lab.places import vm_images
from boxwright.lab.vm.qemu import KERNEL_ARGUMENTS
from boxwright.model.site import Distribution, Mirrors

GUEST = Path(__file__).with_name("guest")
DISK_GIB = 32  # what the guest sees; the file holds what was written
_LAYOUT = 1  # raised when the way the disk is made changes
_UNITS = ("boxwright-twin-seed.service", "boxwright-twin-views.service")
# The id of a machine that nobody is yet. An empty one would make systemd take each boot for the first.
_NOBODY = "0" * 31 + "1"
# The tree stays as it is: what a VM has beyond it lies in a layer of its own while the disk is filled.
_FILL = """\
set -eu
mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" disk "$4"
for unit in $6; do systemctl --quiet --root="$4" enable "$unit"; done
for user in $8; do # root's, until whoever owns it exists
    chroot "$4" useradd --shell /bin/bash --user-group "$user"
    chroot "$4" chown --recursive "$user:$user" "/home/$user"
done
truncate --size "$7" "$5"
mke2fs -q -t ext4 -L root -E lazy_itable_init=1,root_owner=0:0 -d "$4" "$5"
"""


def ensure(distribution: Distribution, mirrors: Mirrors, progress: Callable[[str], None]) -> Path:
    """Return the folder of kernel, initramfs and disk of a distribution; what is not cached is built.

    Raises:
        LabError: Something of it cannot be built here.
    """
    tree = rootfs.ensure(distribution, mirrors, progress, kernel=True)
    image = vm_images() / _digest(tree)
    if image.is_dir():
        return image
    with locked(image.with_name(f".{image.name}.lock"), progress) as lock:
        if not image.is_dir():
            progress(f"Making the disk of {distribution}'s VMs (once, about 20 s)")
            _build(tree, image, lock)
    return image


def guest_files() -> dict[str, tuple[Path, int]]:
    """What a VM has beyond the tree: where, from which file of ours, with which mode."""
    programs = {f"usr/lib/boxwright-twin/{name}": (GUEST / name, 0o755) for name in ("seed-agent", "place-views")}
    programs["etc/kernel/install.d/90-boxwright-twin.install"] = (GUEST / "90-boxwright-twin.install", 0o755)
    return programs | {f"etc/systemd/system/{name}": (GUEST / name, 0o644) for name in _UNITS}


def _digest(tree: Path) -> str:
    text = "".join(f"{place}{mode}{file.read_text()}" for place, (file, mode) in sorted(guest_files().items()))
    return hashlib.sha256(f"{tree.name}{_LAYOUT}{DISK_GIB}{KERNEL_ARGUMENTS}{_FILL}{text}".encode()).hexdigest()


def _build(tree: Path, image: Path, lock: int) -> None:
    unfinished = image.with_name(f"{image.name}.unfinished")
    if unfinished.exists():
        remove_tree(unfinished)
    files = {place: (file.read_text(), mode) for place, (file, mode) in guest_files().items()}
    files["etc/kernel/cmdline"] = (f"{KERNEL_ARGUMENTS}\n", 0o644)
    files["etc/machine-id"] = (f"{_NOBODY}\n", 0o444)
    files["etc/hostname"] = ("twin\n", 0o644)
    make_disk(tree, files, unfinished, "root.qcow2", units=_UNITS, lock=lock)
    os.rename(unfinished, image)  # noqa: PTH104 (says what it is: the one atomic step)


def make_disk(
    tree: Path,
    files: Mapping[str, tuple[str, int]],
    folder: Path,
    name: str,
    *,
    units: Sequence[str] = (),
    users: Sequence[str] = (),
    lock: int,
) -> None:
    """Make a disk of a tree, with its kernel and initramfs beside it.

    Args:
        tree: The root filesystem; it stays as it is.
        files: What the disk has beyond it: text and mode by path.
        folder: Where to; it is made.
        name: The disk's file there.
        units: Services that are switched on, beside the network's.
        users: Accounts that are made; their homes are among the files.
        lock: Held until the last of the programs ends.
    """
    upper, work, mount, raw = (folder / part for part in ("upper", "work", "mount", "root.raw"))
    for part in (upper, work, mount):
        part.mkdir(parents=True)
    _lay_out(upper, files)
    wanted = " ".join((*units, "systemd-networkd.service"))
    words = [str(tree), *map(str, (upper, work, mount, raw)), wanted, f"{DISK_GIB}G", " ".join(users)]
    inside = ["unshare", "--mount", "--propagation", "slave"]  # the mount vanishes with it, even if it is killed
    run([*inside, "sh", "-c", _FILL, "sh", *words], timeout=600, holding=[lock])
    run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / name)], timeout=600, holding=[lock])
    for kind, ours in (("vmlinuz", "vmlinuz"), ("initrd.img", "initrd")):
        shutil.copyfile(max((tree / "boot").glob(f"{kind}-*")), folder / ours)
    raw.unlink()
    for leftover in (upper, work, mount):
        shutil.rmtree(leftover)


def _lay_out(upper: Path, files: Mapping[str, tuple[str, int]]) -> None:
    """Write the layer over the tree; the modes of its folders are those that the disk gets, whatever our umask."""
    for place, (text, mode) in files.items():
        target = upper / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
    # Nothing waits for a network that the lab has not given yet.
    mask = upper / "etc/systemd/system/systemd-networkd-wait-online.service"
    mask.parent.mkdir(parents=True, exist_ok=True)
    mask.symlink_to("/dev/null")
    for folder in (upper, *(path for path in upper.rglob("*") if path.is_dir() and not path.is_symlink())):
        folder.chmod(0o700 if folder.name == ".ssh" else 0o755)
