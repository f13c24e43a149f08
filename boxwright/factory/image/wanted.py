"""What an image is made of, and where it goes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from boxwright.factory.bundle import Bundle, Manifest
from boxwright.factory.image.identity import Identity, newest
from boxwright.factory.lock import Lock
from boxwright.model.fleet import Fleet


@dataclass(frozen=True)
class Wanted:
    """An image that is to be."""

    fleet: Fleet  # of one twin
    bundle: Bundle
    manifest: Manifest
    lock: Lock
    authorized_key: str
    folder: Path

    @property
    def image(self) -> str:
        """The name of its file."""
        return f"{self.lock.name}.raw"

    @property
    def lock_copy(self) -> str:
        """The name of the lock beside it."""
        return f"{self.lock.name}.lock.json"

    @cached_property
    def identity(self) -> Identity:
        """Its ids and its date: that of the newest of its packages.

        Raises:
            BoxwrightError: A file of the bundle is no Debian package.
        """
        sha256 = hashlib.sha256(self.lock.text.encode()).hexdigest()
        return Identity(sha256, newest(self.bundle.artefact(one.sha256) for one in self.lock.of("debian")))
