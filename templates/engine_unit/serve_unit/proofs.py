"""What is proven to serve on this machine: of each unit its request, and copies of its files."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROVEN = Path("/var/lib/boxwright/proven")
NODES = Path("/var/lib/boxwright-nodes")  # what heads are proven to serve, for run-node to read


class Proof:
    """What was proven to serve as a unit last: its request, and copies of its files."""

    def __init__(self, unit: str) -> None:
        self.folder = PROVEN / unit
        self.copies = self.folder / "files"

    def request(self) -> dict[str, Any] | None:
        """What was asked for then; None where nothing is proven."""
        try:
            told = json.loads((self.folder / "request.json").read_text())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    def fits(self, request: dict[str, Any]) -> bool:
        """Whether this very request, with the files as they are now, is what was proven."""
        return self.request() == request and all(_equal(self._copy(path), Path(path)) for path in request["written"])

    def keep(self, request: dict[str, Any]) -> None:
        """Make the present files what is proven, as a whole or not at all."""
        draft, old = (self.folder.with_name(f".{self.folder.name}.{end}") for end in ("new", "old"))
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for path in request["written"]:
            copy = draft / "files" / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copied(Path(path), copy)
        (draft / "request.json").write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")
        if self.folder.exists():
            self.folder.replace(old)
        draft.replace(self.folder)
        shutil.rmtree(old, ignore_errors=True)
        if leads(request):
            _published(NODES / self.folder.name / "proven", f"{request['box']['settings']}\n")

    def put_back(self, request: dict[str, Any]) -> None:
        """Make the files what they were when they were proven."""
        for path in request["written"]:
            place, copy = Path(path), self._copy(path)
            if copy.exists() and not _equal(copy, place):
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                draft = place.with_name(f".{place.name}.back")
                _copied(copy, draft)
                draft.replace(place)

    def forget(self) -> None:
        """Nothing is proven of this unit any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(NODES / self.folder.name, ignore_errors=True)

    def _copy(self, path: str) -> Path:
        return self.copies / path.lstrip("/")


def _equal(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _copied(source: Path, destination: Path) -> None:
    """A copy with mode and owner, that nobody else can read on the way."""
    status = source.stat()
    destination.unlink(missing_ok=True)
    with open(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(source.read_bytes())
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), status.st_mode & 0o7777)
        os.fsync(file.fileno())


def leads(request: dict[str, Any]) -> bool:
    """Whether it is the head of several nodes."""
    return bool(request.get("box") and request["box"]["leads"])


def follows(request: dict[str, Any]) -> bool:
    """Whether it is another node than the head of several."""
    return bool(request.get("box") and not request["box"]["leads"])


def _published(path: Path, text: str) -> None:
    """Write what run-node, which is not root, may read."""
    for folder in (NODES, path.parent):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


@contextlib.contextmanager
def trying(request: dict[str, Any]) -> Iterator[None]:
    """While a head is tried, its other nodes are not told that it serves; a lock, as that ends with the program."""
    if not leads(request):
        yield
        return
    path = NODES / request["unit"] / "trying"
    if not path.exists():
        _published(path, "")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def rivals_of(request: dict[str, Any]) -> list[Proof]:
    """Other units that were proven behind the same door."""
    if request["url"] is None:
        return []
    return [
        proof
        for proof in all_proofs()
        if proof.folder.name != request["unit"] and _door((proof.request() or {}).get("url")) == _door(request["url"])
    ]


def all_proofs() -> list[Proof]:
    """Every unit that is proven."""
    folders = sorted(PROVEN.iterdir()) if PROVEN.is_dir() else []
    return [Proof(folder.name) for folder in folders if folder.is_dir() and not folder.name.startswith(".")]


def _door(url: str | None) -> str:
    """Address and port that a unit listens at; empty for one that has none."""
    return urlsplit(url or "").netloc
