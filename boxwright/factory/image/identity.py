"""What a disk would draw by lot or take from the clock: here it follows from the lock."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import BoxwrightError

_OURS = uuid.UUID("0b6f1f0e-6f7e-5d35-9f6b-9b1d2a7c6e51")  # drawn once, for this purpose
_AR_HEADER = re.compile(rb"^!<arch>\n.{16}([0-9 ]{12})", re.DOTALL)


@dataclass(frozen=True)
class Identity:
    """Ids and the date of an image."""

    lock_sha256: str
    epoch: int  # Unix time: nothing in the image is newer

    @property
    def disk(self) -> str:
        """The id of the partition table."""
        return self._uuid("disk")

    @property
    def esp(self) -> str:
        """The id of the partition that firmware boots from."""
        return self._uuid("esp")

    @property
    def root(self) -> str:
        """The id of the partition of the root filesystem."""
        return self._uuid("root")

    @property
    def filesystem(self) -> str:
        """The id of the root filesystem itself."""
        return self._uuid("filesystem")

    @property
    def hash_seed(self) -> str:
        """What ext4 mixes into the hashes of names."""
        return self._uuid("hash seed")

    @property
    def volume(self) -> str:
        """The serial number of the FAT filesystem: eight hexadecimal digits."""
        return self._uuid("volume").replace("-", "")[:8]

    def _uuid(self, what: str) -> str:
        return str(uuid.uuid5(_OURS, f"{self.lock_sha256} {what}"))


def newest(packages: Iterable[Path]) -> int:
    """The date of the newest of some Debian packages: when it was built, as its archive says.

    Raises:
        BoxwrightError: A file is no Debian package.
    """
    return max(_date(path) for path in packages)


def _date(path: Path) -> int:
    with path.open("rb") as file:
        match = _AR_HEADER.match(file.read(60))
    if match is None:
        raise BoxwrightError("this is no Debian package", where=str(path), hint="./invoke bundle.verify")
    return int(match[1])
