"""Pulls a container image so that the loss of power leaves none that is broken.

Usage: python3 -I -B pull-image NAME@sha256:DIGEST NOTES PULLED

Docker counts a layer as there as soon as it is unpacked, and syncs none of its files: behind a power cut it has layers
of empty files, which no further pull replaces. So a note of each pull lies in the folder NOTES, named by the digest,
until everything of it is on the disk. It names the boot in which the pull began. Where one of an earlier boot is left,
what is pulled may stand on such layers: it is removed with them, and pulled again.

The folder PULLED keeps the names of all that came so, by digest: those images are Boxwright's to remove.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

DOCKER = "/usr/bin/docker"
BOOT = Path("/run/boxwright-boot")  # a name for this boot; the kernel's own is the same for all of a host's containers


def pull(image: str, notes: Path, pulled: Path, boot: str) -> None:
    """Have the image, whole and on the disk.

    Raises:
        subprocess.CalledProcessError: Docker has said why.
    """
    for folder in (notes, pulled):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    digest = image.rpartition(":")[2]
    note = notes / digest
    if any(other.read_text() != boot for other in notes.iterdir()):  # of any image: they share layers
        _docker("pull", "--quiet", image)
        _docker("image", "rm", "--force", image)
    _write_synced(pulled / digest, f"{image}\n")
    _write_synced(note, boot)
    _docker("pull", "--quiet", image)
    os.sync()
    note.unlink()
    _sync(notes)


def _this_boot() -> str:
    if not BOOT.exists():
        BOOT.write_text(uuid.uuid4().hex)
    return BOOT.read_text()


def _docker(*words: str) -> None:
    subprocess.run([DOCKER, *words], check=True)


def _write_synced(note: Path, text: str) -> None:
    with note.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync(note.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Pull the image that is named."""
    image, notes, pulled = arguments
    try:
        pull(image, Path(notes), Path(pulled), _this_boot())
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
