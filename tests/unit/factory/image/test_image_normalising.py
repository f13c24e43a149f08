"""Nothing in an image is newer than its newest package, and whatever notes the date of a file notes the new one."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.factory.image.normalising import normalise

EPOCH = 1_700_000_000
OLD = 1_500_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/shadow").write_text("root:*:19000:0:99999:7:::\nllama:!:29000::::::\nodd:!::::::\n")
    return tree


def test_what_is_newer_is_dated_back_and_what_is_older_is_left_alone(tree: Path) -> None:
    for name in ("new", "old"):
        (tree / name).write_text(name)
    os.utime(tree / "old", (OLD, OLD))
    (tree / "link").symlink_to("nowhere")
    normalise(tree, EPOCH)
    assert {path.name: int(path.lstat().st_mtime) for path in tree.iterdir()} == {
        "new": EPOCH,
        "old": OLD,
        "link": EPOCH,
        "etc": EPOCH,
    }


def test_accounts_that_were_made_today_were_made_on_the_day_of_the_image(tree: Path) -> None:
    normalise(tree, EPOCH)
    day = EPOCH // 86400
    assert (tree / "etc/shadow").read_text() == f"root:*:19000:0:99999:7:::\nllama:!:{day}::::::\nodd:!::::::\n"


def test_python_takes_a_compiled_file_for_that_of_its_dated_source(tree: Path) -> None:
    source = tree / "module.py"
    source.write_text("WORD = 'said'\n")
    compiled = Path(py_compile.compile(str(source)) or "")
    normalise(tree, EPOCH)
    compiled.chmod(0o444)
    before = compiled.read_bytes()
    argv = [sys.executable, "-v", "-c", "import module"]
    ran = subprocess.run(argv, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True)
    assert f"{compiled} matches {source}" in ran.stderr
    assert compiled.read_bytes() == before


def test_the_note_of_a_verified_model_still_fits_it(tree: Path) -> None:
    model, note = tree / "m.gguf", tree / ".m.gguf.verified"
    model.write_bytes(b"weights")
    note.write_text(f"7 {model.stat().st_mtime_ns} {'a' * 64}\n")
    normalise(tree, EPOCH)
    assert note.read_text() == f"7 {model.stat().st_mtime_ns} {'a' * 64}\n"
    assert int(note.stat().st_mtime) == EPOCH


def test_a_second_time_changes_nothing(tree: Path) -> None:
    (tree / "x").write_text("x")
    normalise(tree, EPOCH)
    before = {path: path.stat().st_ctime_ns for path in tree.rglob("*") if path.is_file()}
    normalise(tree, EPOCH)
    assert {path: path.stat().st_ctime_ns for path in before} == before
