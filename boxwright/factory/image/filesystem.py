"""The root filesystem: ext4 that is the same whenever it is made of the same tree, however that was written."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.factory.image.identity import Identity
from boxwright.lab.commands import run

_MIB = 1 << 20
_BLOCK = 4096
_SPARE_MIB = 256  # for what the first boot writes, before the filesystem has grown
_PER_INODE = 16384  # bytes, as mke2fs reckons by itself
_FIRST_OF_OURS = 11  # inodes below are ext4's own
_PATIENCE_S = 3600


def size_mib(tree: Path) -> int:
    """How large a filesystem holds a tree: a tenth more than its blocks, room for its inodes, and a little to spare."""
    blocks = inodes = 0
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            status = os.lstat(Path(folder, name))
            inodes += 1
            if not stat.S_ISLNK(status.st_mode):
                blocks += max(1, -(-status.st_size // _BLOCK)) if stat.S_ISREG(status.st_mode) else 1
    used = max(blocks * _BLOCK * 11 // 10, inodes * _PER_INODE)
    return used // _MIB + _SPARE_MIB


def write(tree: Path, target: Path, mib: int, identity: Identity, scratch: Path) -> None:
    """Make the filesystem of a tree.

    mke2fs takes files in the order in which folders list them, which on any filesystem follows from its history: so it
    looks through disorderfs, which sorts. The times of inodes' own changes, which nobody can set on a tree, are set in
    the filesystem.

    Args:
        tree: What goes in.
        target: The file of the filesystem; it is made.
        mib: Its size.
        identity: Ids and date.
        scratch: An empty folder to look through.

    Raises:
        LabError: A tool failed.
    """
    target.unlink(missing_ok=True)
    dated = ["env", f"E2FSPROGS_FAKE_TIME={identity.epoch}", f"SOURCE_DATE_EPOCH={identity.epoch}", "TZ=UTC"]
    extended = f"hash_seed={identity.hash_seed},lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,nodiscard"
    with _sorted(tree, scratch):
        options = ["-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-i", str(_PER_INODE), "-L", "root", "-m", "1"]
        ids = ["-U", identity.filesystem, "-E", extended]
        run([*dated, "mke2fs", *options, *ids, "-d", str(scratch), str(target), f"{mib}M"], timeout=_PATIENCE_S)
    script = "".join(
        f"set_inode_field <{number}> {field} @{identity.epoch}\n"
        for number in (2, *range(_FIRST_OF_OURS, _used(target) + 1))
        for field in ("ctime", "atime")
    )
    run([*dated, "debugfs", "-w", "-f", "/dev/stdin", str(target)], stdin=script, timeout=_PATIENCE_S)


@contextmanager
def _sorted(tree: Path, place: Path) -> Iterator[None]:
    """Show a tree at another place with its folders in order."""
    order = ["--sort-dirents=yes", "--reverse-dirents=no", "--pad-blocks=0"]
    run(["disorderfs", "-q", *order, str(tree), str(place)])
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=False)


def _used(target: Path) -> int:
    """The number of the last inode that is used: they are given out in order."""
    told = dict(re.findall(r"^([^:\n]+):\s+([0-9]+)$", run(["dumpe2fs", "-h", str(target)]), re.MULTILINE))
    return int(told["Inode count"]) - int(told["Free inodes"])
