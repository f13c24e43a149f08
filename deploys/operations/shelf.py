"""Programs that were built for boxes, kept on the controller: built by one, installed by all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TELL_EVERY_S = 5.0
_LOOK_EVERY_S = 0.5


def key_of(recipe: dict[str, Any]) -> str:
    """The name of a build: sixteen digits that differ as soon as anything in its recipe does.

    Args:
        recipe: Source, compilers, options and targets, as data for JSON.
    """
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Kept:
    """A build on the shelf, verified."""

    archive: Path
    sha256: str


class Shelf:
    """A folder of archives, each with a record of its digest.

    Several runs may use it at the same time: a build is there whole or not at all, and who makes one holds its lock.

    Args:
        folder: Is made where it is missing, for nobody but its owner.
        key: Of the build.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self._archive = folder / f"{key}.tar.gz"
        self._record = folder / f"{key}.json"
        self._lock = folder / f".{key}.lock"
        self.draft = folder / f".{key}.{os.getpid()}.{id(self):x}.new"

    def find(self) -> Kept | None:
        """The build, if it is there and is what was recorded; what is damaged is removed."""
        try:
            recorded = json.loads(self._record.read_text(encoding="utf-8"))
            sha256, size = recorded["sha256"], recorded["bytes"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if _matches(self._archive, sha256, size):
            return Kept(self._archive, sha256)
        self._record.unlink(missing_ok=True)
        self._archive.unlink(missing_ok=True)
        return None

    def keep(self, sha256: str, size: int, record: dict[str, Any]) -> Kept:
        """Put `draft` on the shelf.

        Args:
            sha256: What its digest must be.
            size: What its size must be, in bytes.
            record: What else is to be remembered of it.

        Raises:
            ValueError: It did not arrive whole.
        """
        if not _matches(self.draft, sha256, size):
            raise ValueError(f"the archive arrived with another digest than {sha256}, which the box told")
        with self.draft.open("rb") as stream:
            os.fsync(stream.fileno())
        self.draft.replace(self._archive)
        note = self.draft.with_suffix(".json")
        note.write_text(
            json.dumps({"sha256": sha256, "bytes": size, **record}, indent=2, sort_keys=True), encoding="utf-8"
        )
        note.replace(self._record)
        return Kept(self._archive, sha256)

    @contextlib.contextmanager
    def alone(self, patience_s: float, waiting: Callable[[str], None]) -> Iterator[None]:
        """Be the only one who makes this build; wait for who makes it now, and at last go on without the lock.

        Never blocks in the kernel: hosts of the plain pyinfra command are greenlets of one process.

        Args:
            patience_s: How long to wait.
            waiting: Told, now and then, for how long it has waited.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("a", encoding="utf-8") as lock:
            began = told = time.monotonic()
            while not locked(lock.fileno()):
                now = time.monotonic()
                if now - began >= patience_s:
                    break
                if now - told >= TELL_EVERY_S:
                    told = now
                    waiting(f"waits for another host, which builds the same: {now - began:.0f} s")
                time.sleep(_LOOK_EVERY_S)
            else:
                self._clear()
            try:
                yield
            finally:
                self.draft.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove drafts of this build whose makers were killed."""
        for left in self.folder.glob(f"{self._lock.stem}.*.*.new"):
            pid = left.name.split(".")[-3]
            if not Path("/proc", pid).exists():
                left.unlink(missing_ok=True)


def locked(descriptor: int) -> bool:
    """Lock an open file for this process, unless somebody else has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _matches(path: Path, sha256: str, size: int) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False
