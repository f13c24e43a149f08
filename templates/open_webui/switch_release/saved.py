"""Databases of Open WebUI that are saved on the box, each with what release it is of."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

_IDENTITY = "identity.json"  # written last: a folder without it is the rest of a killed run
_SPARE_BYTES = 64 * 1024**2
_SIDES = ("-wal", "-shm", "-journal")  # files that SQLite keeps beside a database, and that belong to it alone
_REVISION = re.compile(r"^revision\b[^=\n]*=\s*['\"](\w+)['\"]", re.MULTILINE)


class SaveError(Exception):
    """A database cannot be saved, or what was saved cannot be used; the message says why."""


@dataclass(frozen=True)
class Saved:
    """One saved database."""

    folder: Path
    version: str  # the environment that it was of
    revision: str | None  # of its schema
    made: str  # when, in UTC
    sha256: str

    @property
    def name(self) -> str:
        """As a person finds it: when it was made, and of which environment it is."""
        return self.folder.name


class SavedDatabases:
    """The folder of saved databases, and the data of the page that they are of. The page must not run."""

    def __init__(self, folder: Path, state: Path, user: str) -> None:
        self.folder = folder
        self.state = state
        self.user = user
        self.database = state / "webui.db"
        self.vectors = state / "vector_db"

    def all(self) -> list[Saved]:
        """Every whole one, the oldest first."""
        return [_read(path.parent) for path in sorted(self.folder.glob(f"[0-9]*/{_IDENTITY}"))]

    def find(self, name: str) -> Saved:
        """One by its name.

        Raises:
            SaveError: It is not there.
        """
        if not (self.folder / name / _IDENTITY).exists():
            raise SaveError(f"{self.folder / name} is gone")
        return _read(self.folder / name)

    def revision(self) -> str | None:
        """The schema of the present database, which may be in use.

        Raises:
            SaveError: It cannot be read.
        """
        try:
            return _schema(self.database)
        except sqlite3.Error as error:
            raise SaveError(f"{self.database} cannot be read: {error}") from None

    def save(self, version: str) -> Saved:
        """Save the database, and the vectors of documents.

        Raises:
            SaveError: There is no room, or the database is damaged.
        """
        self._check_room()
        made = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        draft, final = self.folder / f".{made}-{version}", self.folder / f"{made}-{version}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            _copy_database(self.database, draft / "webui.db")
            _check(draft / "webui.db")
            for source in sorted(path for path in self.vectors.rglob("*") if path.is_file()):
                self._save_vectors(source, draft / "vector_db" / source.relative_to(self.vectors))
        except sqlite3.Error as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise SaveError(f"{self.database} cannot be saved: {error}") from None
        digest = _digest(draft / "webui.db")
        identity = {"version": version, "revision": _schema(draft / "webui.db"), "made": made, "sha256": digest}
        (draft / _IDENTITY).write_text(json.dumps(identity, indent=2) + "\n")
        os.sync()
        draft.replace(final)
        return _read(final)

    def restore(self, saved: Saved) -> None:
        """Put a saved database in the place of the present one. Doing it again does no harm.

        Raises:
            SaveError: It is not what was saved.
        """
        source = saved.folder / "webui.db"
        if _digest(source) != saved.sha256:
            raise SaveError(f"{source} is not what was saved there: its digest has changed")
        draft = self.state / ".webui.db.new"
        shutil.copyfile(source, draft)
        for side in _SIDES:
            Path(f"{self.database}{side}").unlink(missing_ok=True)
        shutil.rmtree(self.vectors, ignore_errors=True)
        if (saved.folder / "vector_db").exists():
            shutil.copytree(saved.folder / "vector_db", self.vectors)
            self._give_to_user(self.vectors)
        self._give_to_user(draft)
        os.sync()
        draft.replace(self.database)
        os.sync()

    def prune(self, keep: int, newest: Saved) -> None:
        """Remove all but so many, and what killed runs left; the newest always stays."""
        names = [saved.name for saved in self.all()]
        kept = {*names[-keep:], newest.name}
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)

    def _check_room(self) -> None:
        sources = [self.database, *(path for path in self.vectors.rglob("*") if path.is_file())]
        sources += [path for side in _SIDES if (path := Path(f"{self.database}{side}")).exists()]
        needed = sum(path.stat().st_size for path in sources) + _SPARE_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise SaveError(
                f"{self.folder} has {free // 1024**2} MiB free, and saving the database takes {needed // 1024**2}"
            )

    def _save_vectors(self, source: Path, copy: Path) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.name.endswith(_SIDES):
            return  # in the copy of its database
        if source.suffix == ".sqlite3":
            _copy_database(source, copy)
        else:
            shutil.copyfile(source, copy)

    def _give_to_user(self, path: Path) -> None:
        for one in (path, *path.rglob("*")):
            shutil.chown(one, self.user, self.user)


def revision_of(migration: str) -> str | None:
    """The schema that a migration of Alembic makes, from its text."""
    found = _REVISION.search(migration)
    return found[1] if found else None


def _copy_database(source: Path, copy: Path) -> None:
    """Copy by SQLite itself, so that what stands in its log alone is in the copy."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as present,
        contextlib.closing(sqlite3.connect(copy)) as made,
    ):
        present.backup(made)
        made.execute("PRAGMA journal_mode=DELETE")


def _check(database: Path) -> None:
    """Raise if it is not sound."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as copy:
        (sound,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)


def _schema(database: Path) -> str | None:
    """The schema that it has; None where nothing tells."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as copy:
        known = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = copy.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return str(row[0]) if row else None


def _read(folder: Path) -> Saved:
    told = json.loads((folder / _IDENTITY).read_text())
    return Saved(folder, told["version"], told["revision"], told["made"], told["sha256"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
