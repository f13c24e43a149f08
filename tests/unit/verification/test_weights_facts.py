"""A model's file that was touched is seen, whatever it shows: the program that runs on the box, on files of our own."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from boxwright.verification.remote import weights_facts
from boxwright.verification.weights import breaches, deep_budget_s, seen

CONTENT = b"weights" * 1000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(CONTENT)
    path.chmod(0o644)
    time.sleep(0.02)  # the kernel's clock of files has coarse steps
    note = tmp_path / ".model.gguf.verified"
    status = path.stat()
    note.write_text(f"{status.st_size} {status.st_mtime_ns} {hashlib.sha256(CONTENT).hexdigest()}\n")
    return path


def told(path: Path, *, deep: bool = False, always_bytes: int = 0, budget_s: float = 60) -> dict[str, Any]:
    file = {"path": str(path), "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return weights_facts.facts({"files": [file], "always_bytes": always_bytes, "budget_s": budget_s, "deep": deep})


def swap_one_byte(path: Path) -> None:
    """As somebody would who wants it unseen: the file shows its old time again."""
    before = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as stream:
        stream.seek(123)
        byte = stream.read(1)[0]
        stream.seek(123)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("more", [{}, {"deep": True}, {"always_bytes": 1 << 20}], ids=["noted", "deep", "small"])
def test_a_file_as_it_was_verified_is_right(model: Path, more: dict[str, Any]) -> None:
    found = told(model, **more)
    assert breaches(found["files"], budget_s=60) == []
    words = seen(found["files"], found["seconds"])
    assert ("hashed in" in words) == bool(more)
    assert ("untouched since they were verified" in words) == (not more)


@pytest.mark.parametrize("more", [{}, {"deep": True}, {"always_bytes": 1 << 20}], ids=["noted", "deep", "small"])
def test_one_byte_that_was_swapped_is_seen(model: Path, more: dict[str, Any]) -> None:
    swap_one_byte(model)
    (wrong,) = breaches(told(model, **more)["files"], budget_s=60)
    assert f"{model} is another file: sha256 " in wrong


def test_a_touched_file_that_is_right_passes_by_its_digest(model: Path) -> None:
    time.sleep(0.02)
    model.chmod(0o644)  # as chmod does it: the time of status change is new, the bytes are not
    found = told(model)
    assert found["files"][0]["untouched"] is False
    assert breaches(found["files"], budget_s=60) == []


def test_a_touched_file_that_is_too_large_for_the_time_fails(model: Path) -> None:
    swap_one_byte(model)
    (wrong,) = breaches(told(model, budget_s=-1)["files"], budget_s=60)
    assert "after it was verified, and 60 s were too short to hash it: ./invoke verify --deep" in wrong


@pytest.mark.parametrize(
    ("meddle", "said"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(CONTENT[:-1]), "has 6999 bytes, not 7000"),
        (lambda path: path.chmod(0o666), "can be written by others (mode 0666)"),
    ],
)
def test_what_needs_no_digest_is_seen_without_one(model: Path, meddle: Any, said: str) -> None:
    meddle(model)
    (wrong,) = breaches(told(model)["files"], budget_s=60)
    assert said in wrong


def test_a_file_without_a_note_is_hashed(model: Path) -> None:
    model.with_name(".model.gguf.verified").unlink()
    found = told(model)
    assert found["files"][0]["digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_deep_verification_has_time_for_a_slow_disk() -> None:
    assert deep_budget_s(400 * 10**9) >= 400e9 / 100e6
