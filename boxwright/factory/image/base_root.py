"""The operating system of an image: Debian with a kernel, unpacked out of a bundle into an empty folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from boxwright.factory.bundle import Bundle
from boxwright.factory.image.disk import ESP_MOUNT, KERNEL_ARGUMENTS, TOKEN
from boxwright.factory.image.identity import Identity
from boxwright.factory.lock import Lock
from boxwright.lab.commands import run
from boxwright.model.debian_packages import BUNDLE_KEY, SYSTEM, system_packages

_PATIENCE_S = 1800
_SOURCES = (
    "# This box was made from an image, out of a bundle. Name a mirror of Debian here, or provision it from a bundle.\n"
)


def unpack(tree: Path, bundle: Bundle, lock: Lock, url: str, identity: Identity) -> None:
    """Make the root filesystem of an operating system with nothing of ours but what boots it.

    Args:
        tree: Where; it is made.
        bundle: Where the packages are.
        lock: Which of them.
        url: Where the bundle's apt repository is served just now.
        identity: Ids and date.

    Raises:
        LabError: A package does not unpack here.
    """
    files = tree.with_name(f"{tree.name}.files")
    for place, text in boot_files(identity).items():
        (files / place).parent.mkdir(parents=True, exist_ok=True)
        (files / place).write_text(text)
    key = bundle.lists(lock.name).absolute() / BUNDLE_KEY
    names = ",".join(name for name in system_packages(lock.distribution) if not name.startswith("?"))
    run(
        [
            *("unshare", "--mount", "--propagation", "slave"),  # what it mounts vanishes with it, even if it is killed
            *("env", f"SOURCE_DATE_EPOCH={identity.epoch}", "LC_ALL=C.UTF-8", "TZ=UTC"),
            *("mmdebstrap", "--mode=root", "--variant=essential", "--format=directory"),
            *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--include={names}"),
            f'--setup-hook=cp -r "{files}/." "$1"',
            *('--aptopt=Acquire::Languages "none"', "--aptopt=Acquire::Check-Valid-Until false"),
            '--aptopt=Acquire::http::Proxy "DIRECT"',  # it is served on this machine
            "--dpkgopt=force-unsafe-io",
            *(SYSTEM, str(tree), f"deb [signed-by={key}] {url} {SYSTEM} main"),
        ],
        timeout=_PATIENCE_S,
    )
    shutil.rmtree(files)
    (tree / "etc/apt/sources.list").write_text(_SOURCES)


def boot_files(identity: Identity) -> dict[str, str]:
    """What the kernel's package looks at while it makes the initramfs, so that this is made once, for any machine."""
    return {
        "etc/fstab": (
            f"UUID={identity.filesystem} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n"
            f"PARTUUID={identity.esp} {ESP_MOUNT} vfat umask=0077,nofail 0 2\n"
        ),
        "etc/kernel/cmdline": f"root=UUID={identity.filesystem} {KERNEL_ARGUMENTS}\n",
        "etc/kernel/entry-token": f"{TOKEN}\n",
        "etc/initramfs-tools/conf.d/boxwright": "MODULES=most\nCOMPRESS=zstd\nRESUME=none\n",
    }
