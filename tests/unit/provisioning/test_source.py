"""Which Boxwright this is: what git says of its tree, and nothing where nobody can say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boxwright.provisioning import source


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROOT", tmp_path)
    assert source.revision() == ""
    git(tmp_path, "init", "-q")
    assert source.revision() == ""  # without a commit
    (tmp_path / "tasks.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Begin")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "my-notes").touch()  # nobody runs it
    assert source.revision() == commit
    (tmp_path / "tasks.py").write_text("a = 2\n")
    assert source.revision() == f"{commit} modified"


def test_a_machine_without_git_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert source.revision() == ""
