"""A file on its way to its place: what it must be, what has arrived, and the record of what was verified."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from progress import Meter, say

BLOCK = 1 << 20


class FetchError(Exception):
    """The file cannot be had; the message says why and what to do."""


def amount(count: float) -> str:
    """A number of bytes as a person reads it, in decimal units as on a disk's label."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


@dataclass(frozen=True)
class Wanted:
    """A file, where it goes, and where it may come from."""

    path: Path
    bytes: int
    sha256: str
    near: tuple[str, ...]  # files of this machine that may be it
    urls: tuple[str, ...]  # addresses, the preferred one first
    packages: tuple[dict[str, str], ...]

    @classmethod
    def of(cls, entry: dict[str, Any], directory: Path, folders: list[str]) -> Wanted:
        """Read an entry of the request, and look whether a folder has the file."""
        below = (directory.parent.name, directory.name)
        candidates = [place for folder in folders for place in _in_folder(Path(folder), below, entry)]
        near = [path for path in candidates if path.is_file() and size_of(path) == entry["bytes"]]
        return cls(
            path=directory / entry["name"],
            bytes=entry["bytes"],
            sha256=entry["sha256"],
            near=tuple(dict.fromkeys(str(path) for path in near)),
            urls=tuple(entry["urls"]),
            packages=tuple(entry["python_packages"]),
        )


def _in_folder(folder: Path, below: tuple[str, str], entry: dict[str, Any]) -> list[Path]:
    """Where a folder may have a file: as Boxwright lays models out, as the hub does, or beside each other."""
    return [folder.joinpath(*below, entry["name"]), folder / (entry["path"] or entry["name"]), folder / entry["name"]]


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def part_of(path: Path) -> Path:
    """What has arrived of a file so far."""
    return path.with_name(path.name + ".part")


class Part:
    """What has arrived, with its digest so far: hashed once when it is picked up, and then as it grows."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self.path = part_of(path)
        self.meter = meter
        self.done = 0
        self.origins: set[str] = set()  # where its bytes are from; "" for an earlier run
        self._digest = hashlib.sha256()
        if size_of(self.path):
            self.origins.add("")
            with self.path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    self._digest.update(block)
                    self.done += len(block)
                    meter.have(len(block))

    @property
    def sha256(self) -> str:
        """Digest of all that has arrived."""
        return self._digest.hexdigest()

    def open(self) -> IO[bytes]:
        """Open it for more."""
        stream = self.path.open("r+b" if self.done else "wb")
        stream.seek(self.done)
        stream.truncate()
        return stream

    def append(self, stream: IO[bytes], block: bytes) -> None:
        """Take in a block."""
        stream.write(block)
        self._digest.update(block)
        self.done += len(block)
        self.meter.got(len(block))

    def reset(self) -> None:
        """Throw it away."""
        self.path.unlink(missing_ok=True)
        self.meter.lost(self.done)
        self.done, self._digest = 0, hashlib.sha256()
        self.origins.clear()


def put_in_place(part: Path, path: Path, sha256: str) -> None:
    """Give a verified file its name, for everybody to read and nobody but its owner to write, and record it."""
    part.with_name(f"{part.name}.piece").unlink(missing_ok=True)  # of a controller that was sending when power was cut
    part.chmod(0o644)
    os.chown(part, os.geteuid(), os.getegid())
    _sync(part)  # also what the controller sent
    part.replace(path)
    _sync(path.parent)  # without it, a power cut may lose the new name
    record(path, sha256)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def record(path: Path, sha256: str) -> None:
    """Note size, time of change and digest: the note holds as long as the file shows the same two."""
    status = path.stat()
    note = path.with_name(f".{path.name}.verified")
    draft = note.with_suffix(".new")
    draft.write_text(f"{status.st_size} {status.st_mtime_ns} {sha256}\n")
    draft.replace(note)


def recorded(path: Path) -> str:
    """The digest that was noted of a file, if the note still fits it."""
    try:
        size, changed, sha256 = path.with_name(f".{path.name}.verified").read_text().split()
        status = path.stat()
    except (OSError, ValueError):
        return ""
    return sha256 if (int(size), int(changed)) == (status.st_size, status.st_mtime_ns) else ""


def complete(wanted: Wanted, meter: Meter) -> bool:
    """Whether a file is there. One without a fitting note is hashed, and noted if it is right."""
    path = wanted.path
    if size_of(path) != wanted.bytes:
        return False
    if recorded(path) != wanted.sha256:
        say(f"hashes {path.name}, {amount(wanted.bytes)}, which is here and not recorded")
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != wanted.sha256:
                return False
        record(path, wanted.sha256)
    path.chmod(0o644)
    meter.expect(wanted.bytes)
    meter.have(wanted.bytes)
    return True
