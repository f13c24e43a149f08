"""The root filesystem under every twin: a small Debian server, built once and shared read-only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from boxwright.errors import LabError
from boxwright.lab.commands import locked, remove_tree, run
from boxwright.lab.places import root_filesystems
from boxwright.mirrors import apt_options
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.site import CODENAMES, Distribution, Mirrors

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "procps"),
    *("openssh-server", "sudo", "python3", "python3-apt", "ca-certificates", "curl", "gpg"),
    *("iproute2", "iputils-ping", "nftables", "pciutils", "numactl", "dmidecode"),
)
# What boots the tree as a machine of its own. e2fsprogs looks after its disk.
_KERNEL_PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "lz4", "e2fsprogs")
_INITRAMFS_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic")
_LAYOUT = 3  # raised when the way the tree is cleaned up changes


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is in a root filesystem."""

    codename: str
    debian: str
    debian_security: str
    packages: tuple[str, ...] = _PACKAGES
    components: tuple[str, ...] = ("main", "contrib", "non-free", "non-free-firmware")
    layout: int = _LAYOUT
    initramfs_modules: tuple[str, ...] = ()  # with a kernel of its own: all that its initramfs needs to find a disk

    @property
    def digest(self) -> str:
        """The name of the tree in the cache."""
        deciding = {name: value for name, value in asdict(self).items() if value or name != "initramfs_modules"}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    @property
    def sources(self) -> str:
        """The twin's `/etc/apt/sources.list`, as Debian's installer writes it."""
        components = " ".join(self.components)
        return "".join(
            f"deb {uri} {suite} {components}\n"
            for uri, suite in (
                (self.debian, self.codename),
                (self.debian, f"{self.codename}-updates"),
                (self.debian_security, f"{self.codename}-security"),
            )
        )


def recipe(distribution: Distribution, mirrors: Mirrors, *, kernel: bool = False) -> Recipe:
    """The recipe of a distribution. `mirrors` are resolved ones; `kernel` asks for what boots it as a machine."""
    if mirrors.debian is None or mirrors.debian_security is None:
        raise LabError("a root filesystem needs resolved mirrors")
    plain = Recipe(CODENAMES[distribution], mirrors.debian, mirrors.debian_security)
    if not kernel:
        return plain
    return replace(plain, packages=_PACKAGES + _KERNEL_PACKAGES, initramfs_modules=_INITRAMFS_MODULES)


def ensure(
    distribution: Distribution, mirrors: Mirrors, progress: Callable[[str], None], *, kernel: bool = False
) -> Path:
    """Return the tree of a distribution. What is not cached is built; two commands never build twice."""
    wanted = recipe(distribution, mirrors, kernel=kernel)
    tree = root_filesystems() / wanted.digest
    if tree.is_dir():
        return tree
    with locked(tree.with_name(f".{wanted.digest}.lock"), progress) as lock:
        if not tree.is_dir():
            kind = f"{distribution} with a kernel" if kernel else distribution
            progress(f"Building the root filesystem of {kind} (once, about half a minute)")
            _build(wanted, tree, apt_options(mirrors), lock)
    return tree


def _build(wanted: Recipe, tree: Path, apt_options: Sequence[str], lock: int) -> None:
    unfinished = tree.with_name(f"{wanted.digest}.unfinished")
    if unfinished.exists():
        remove_tree(unfinished)  # of a build that was killed; its last process has ended, or we had no lock
    run(
        [
            *("unshare", "--mount", "--propagation", "slave"),  # what it mounts vanishes with it, even if it is killed
            "mmdebstrap",
            *("--mode=root", "--variant=minbase", f"--keyring={DEBIAN_KEYRING}", "--format=directory"),
            f"--include={','.join(wanted.packages)}",
            *_initramfs_hook(wanted.initramfs_modules),
            *(f"--aptopt={line}" for line in apt_options),
            *('--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"),
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc")),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *(wanted.codename, str(unfinished), "-"),
        ],
        stdin=wanted.sources,
        timeout=1200,
        holding=[lock],
    )
    _make_impersonal(unfinished)
    os.rename(unfinished, tree)  # noqa: PTH104 (says what it is: the one atomic step)


def _initramfs_hook(modules: Sequence[str]) -> list[str]:
    """Options by which the kernel's package makes a small initramfs at once, instead of one for any machine."""
    if not modules:
        return []
    settings = r"MODULES=list\nCOMPRESS=lz4\n"
    return [
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
        f'--essential-hook=printf "{settings}" >"$1/etc/initramfs-tools/conf.d/twin"',
        f'--essential-hook=printf "%s\\n" {" ".join(modules)} >"$1/usr/share/initramfs-tools/modules.d/twin"',
    ]


def _make_impersonal(tree: Path) -> None:
    """Remove what belongs to one machine, and every trace of how the tree was built."""
    etc = tree / "etc"
    leftovers = [
        *(etc / "ssh").glob("ssh_host_*"),
        *(etc / name for name in ("hostname", "resolv.conf")),
        *(etc / "apt/apt.conf.d").glob("*mmdebstrap"),
        *(etc / "dpkg/dpkg.cfg.d").glob("*mmdebstrap"),
        *(path for path in (tree / "var/log").rglob("*") if path.is_file()),
        tree / "var/lib/systemd/random-seed",
    ]
    for path in leftovers:
        path.unlink(missing_ok=True)
    (etc / "machine-id").write_text("")
    # A twin is thrown away: nothing is gained when dpkg waits for the controller's disk at every file.
    (etc / "dpkg/dpkg.cfg.d/twin").write_text("force-unsafe-io\n")
    for stamp in (etc / ".updated", tree / "var/.updated"):
        shutil.copystat(tree / "usr", _touched(stamp))  # else each first boot updates caches that are fresh


def _touched(path: Path) -> Path:
    path.touch()
    return path
