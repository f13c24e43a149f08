"""Locks that boxes were made from, kept on the controller: receipts name them by digest, and evidence reads them."""

from __future__ import annotations

from pathlib import Path

from boxwright import places
from boxwright.errors import BadInputError
from boxwright.factory.lock import Lock, read_lock
from boxwright.whole_files import write_whole


def keep(lock: Lock) -> None:
    """Keep a lock that boxes are made from; one that is no longer what it was is written anew."""
    if find(lock.sha256) is None:
        write_whole(_place(lock.sha256), lock.text.encode())


def find(sha256: str) -> Lock | None:
    """The lock with this digest; None where this controller made no box from it, or its file is no longer the same."""
    try:
        lock = read_lock(_place(sha256))
    except BadInputError:
        return None
    return lock if lock.sha256 == sha256 else None


def _place(sha256: str) -> Path:
    return places.state() / "locks" / f"{sha256}.json"
