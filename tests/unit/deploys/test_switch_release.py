"""Databases that are saved before another release of the chat page runs, with a real SQLite."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "templates/open_webui/switch_release"
VERSIONS = ("slim-0.12.0-aa", "slim-0.12.4-bb")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"switch_release_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


saved = load("saved")


@pytest.fixture
def databases(tmp_path: Path) -> Any:
    (tmp_path / "backups").mkdir()
    (tmp_path / "state/vector_db/index").mkdir(parents=True)
    (tmp_path / "state/vector_db/index/data.bin").write_bytes(b"vectors")
    with sqlite3.connect(tmp_path / "state/vector_db/chroma.sqlite3") as made:
        made.execute("CREATE TABLE v (x)")
    made.close()
    return saved.SavedDatabases(tmp_path / "backups", tmp_path / "state", pwd.getpwuid(os.getuid()).pw_name)


def written(databases: Any, *titles: str) -> sqlite3.Connection:
    """A database whose last words stand in its log alone, as after a hard end."""
    open_one = sqlite3.connect(databases.database)
    open_one.execute("PRAGMA journal_mode=WAL")
    open_one.execute("CREATE TABLE IF NOT EXISTS chat (title)")
    open_one.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num)")
    open_one.execute("DELETE FROM alembic_version")
    open_one.execute("INSERT INTO alembic_version VALUES ('c92da83b017f')")
    open_one.executemany("INSERT INTO chat VALUES (?)", [(title,) for title in titles])
    open_one.commit()
    return open_one


def titles(path: Path) -> list[str]:
    with sqlite3.connect(path) as found:
        rows = [row[0] for row in found.execute("SELECT title FROM chat ORDER BY title")]
    found.close()
    return rows


def test_what_stands_in_the_log_alone_is_saved_and_comes_back(databases: Any) -> None:
    present = written(databases, "one", "two")
    assert Path(f"{databases.database}-wal").stat().st_size
    made = databases.save(VERSIONS[0])
    assert (made.version, made.revision) == (VERSIONS[0], "c92da83b017f")
    assert titles(made.folder / "webui.db") == ["one", "two"]
    written(databases, "three").close()
    present.close()
    (databases.vectors / "index/data.bin").write_bytes(b"others")
    for _ in range(2):  # again, as after a cut
        databases.restore(made)
        assert titles(databases.database) == ["one", "two"]
        assert (databases.vectors / "index/data.bin").read_bytes() == b"vectors"
    assert not (made.folder / "vector_db/chroma.sqlite3-wal").exists()
    assert made.folder.stat().st_mode & 0o077 == 0


def test_a_saved_database_that_was_touched_is_not_brought_back(databases: Any) -> None:
    written(databases, "one").close()
    made = databases.save(VERSIONS[0])
    with (made.folder / "webui.db").open("ab") as file:
        file.write(b"x")
    with pytest.raises(saved.SaveError, match="its digest has changed"):
        databases.restore(made)
    assert titles(databases.database) == ["one"]


def test_a_damaged_database_is_not_saved(databases: Any) -> None:
    databases.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    with pytest.raises(saved.SaveError, match="cannot be saved"):
        databases.save(VERSIONS[0])
    assert list(databases.folder.iterdir()) == []


def test_without_room_nothing_is_saved(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written(databases, "one").close()
    full = type("usage", (), {"free": 1024})
    monkeypatch.setattr(saved.shutil, "disk_usage", lambda _: full)
    with pytest.raises(saved.SaveError, match="0 MiB free, and saving the database takes 64"):
        databases.save(VERSIONS[0])


def test_the_oldest_ones_go_and_so_does_what_killed_runs_left(databases: Any) -> None:
    written(databases, "one").close()
    for number in range(4):
        folder = databases.folder / f"2026010{number}T000000Z-{VERSIONS[0]}"
        folder.mkdir()
        identity = {"version": VERSIONS[0], "revision": None, "made": "then", "sha256": "0"}
        (folder / "identity.json").write_text(json.dumps(identity))
    (databases.folder / ".20260109T000000Z-cut").mkdir()
    (databases.folder / "20260110T000000Z-without-identity").mkdir()
    newest = databases.save(VERSIONS[1])
    databases.prune(2, newest)
    left = sorted(path.name for path in databases.folder.iterdir())
    assert left == [f"20260103T000000Z-{VERSIONS[0]}", newest.name]


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("revision = 'c92da83b017f'\ndown_revision = 'b8f2c6d91a04'\n", "c92da83b017f"),
        ('revision: str = "7e5b5dc7342b"\ndown_revision: Union[str, None] = None\n', "7e5b5dc7342b"),
        ("down_revision = 'b8f2c6d91a04'\n", None),
    ],
)
def test_the_schema_that_a_migration_makes_is_read_from_it(text: str, revision: str | None) -> None:
    assert saved.revision_of(text) == revision
