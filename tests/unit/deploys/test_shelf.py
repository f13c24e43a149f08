"""The controller's shelf of built programs: whole or not there, and one builder at a time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploys.operations.shelf import Shelf

ROOT = Path(__file__).parents[3]
CONTENT = b"a program" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def filled(folder: Path, key: str = "k") -> Shelf:
    shelf = Shelf(folder, key)
    folder.mkdir(exist_ok=True)
    shelf.draft.write_bytes(CONTENT)
    shelf.keep(SHA256, len(CONTENT), {"built_by": "box-1"})
    return shelf


def test_what_is_kept_is_found_and_what_is_not_is_not(tmp_path: Path) -> None:
    assert Shelf(tmp_path / "none", "k").find() is None
    kept = filled(tmp_path).find()
    assert kept
    assert (kept.sha256, kept.archive.read_bytes()) == (SHA256, CONTENT)
    assert json.loads((tmp_path / "k.json").read_text())["built_by"] == "box-1"
    assert Shelf(tmp_path, "other").find() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.json", "k.tar.gz"]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "no record", "half a record", "a record of nothing"])
def test_what_is_damaged_counts_as_not_there(tmp_path: Path, damage: str) -> None:
    shelf = filled(tmp_path)
    archive, record = tmp_path / "k.tar.gz", tmp_path / "k.json"
    if damage == "cut":
        archive.write_bytes(CONTENT[:-1])
    elif damage == "flip":
        archive.write_bytes(b"A" + CONTENT[1:])
    elif damage == "gone":
        archive.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "half a record":
        record.write_text(record.read_text()[:20])
    else:
        record.write_text("[]")
    assert shelf.find() is None
    filled(tmp_path)
    assert shelf.find()


def test_an_archive_that_did_not_arrive_whole_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "k")
    shelf.draft.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="arrived with another digest"):
        shelf.keep(SHA256, len(CONTENT), {})
    assert shelf.find() is None


BUILDER = """
import sys, time
from pathlib import Path
from deploys.operations.shelf import Shelf
shelf, told = Shelf(Path(sys.argv[1]), "k"), []
with shelf.alone(float(sys.argv[2]), told.append):
    print("in", flush=True)
    time.sleep(float(sys.argv[3]))
    shelf.draft.write_text("half done")
    print("out", flush=True)
    if sys.argv[4:]:
        time.sleep(60)
"""


def builder(folder: Path, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILDER, str(folder), *words]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_waits_until_the_other_has_ended(tmp_path: Path) -> None:
    first = builder(tmp_path, "60", "1.5")
    assert first.stdout
    assert first.stdout.readline() == "in\n"
    began = time.monotonic()
    second = builder(tmp_path, "60", "0")
    assert second.communicate(timeout=30)[0] == "in\nout\n"
    assert time.monotonic() - began > 1
    assert first.wait(timeout=10) == 0
    assert not list(tmp_path.glob("*.new"))  # drafts go with who made them


def test_the_lock_of_a_killed_builder_is_free(tmp_path: Path) -> None:
    first = builder(tmp_path, "60", "0", "stay")
    assert first.stdout
    assert [first.stdout.readline(), first.stdout.readline()] == ["in\n", "out\n"]
    first.kill()
    first.wait()
    assert list(tmp_path.glob("*.new"))
    assert builder(tmp_path, "60", "0").communicate(timeout=10)[0] == "in\nout\n"
    assert not list(tmp_path.glob(".*.new"))  # what the killed one left would take its room for ever


def test_the_draft_of_another_build_or_of_one_who_lives_is_left_alone(tmp_path: Path) -> None:
    drafts = {Shelf(tmp_path, key).draft for key in ("k", "other")}
    for draft in drafts:
        draft.write_text("being made")
    assert builder(tmp_path, "60", "0").wait(timeout=10) == 0
    assert set(tmp_path.glob(".*.new")) == drafts


def test_waiting_has_an_end_and_then_one_builds_its_own(tmp_path: Path) -> None:
    first = builder(tmp_path, "60", "20")
    assert first.stdout
    assert first.stdout.readline() == "in\n"
    assert builder(tmp_path, "1", "0").communicate(timeout=15)[0] == "in\nout\n"
    first.kill()
    first.wait()
