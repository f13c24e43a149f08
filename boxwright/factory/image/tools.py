"""The controller's programs that make a disk: where they are missing, and which versions they are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

from boxwright.lab import prerequisites
from boxwright.lab.commands import run

PACKAGES = {  # the program that shows that a package is there
    "disorderfs": "disorderfs",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "sfdisk": "fdisk",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
}
# What the bits of an image depend on besides its lock and Boxwright.
_DECIDING = ("mmdebstrap", "e2fsprogs", "dosfstools", "mtools", "fdisk")


def ensure(progress: Callable[[str], None]) -> None:
    """Install what is missing, as root on Debian.

    Raises:
        LabError: This machine cannot make images, or a package must be installed by hand first.
    """
    prerequisites.ensure(progress, further=PACKAGES)


def versions() -> dict[str, str]:
    """Versions of the packages that decide on an image's bits; of this machine, where dpkg knows them."""
    if shutil.which("dpkg-query") is None:
        return {}
    told = run(["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *_DECIDING])
    return dict(re.findall(r"^(\S+) (\S+)$", told, re.MULTILINE))
