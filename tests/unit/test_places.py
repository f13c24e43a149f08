"""Sockets are made where their paths are short enough, in a folder that nobody else can change."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from boxwright import places
from boxwright.errors import BoxwrightError

SSH_NAME = "ssh-" + "0" * 40 + "." + "x" * 16  # what ssh binds before it renames the socket


@pytest.fixture
def long_runtime(tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / ("r" * 100)
    monkeypatch.setenv("BOXWRIGHT_RUNTIME", str(path))
    return path


def test_a_runtime_directory_with_a_short_path_holds_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_RUNTIME", "/tmp/bw-places")
    assert places.sockets() == places.runtime()
    places.runtime().rmdir()


def test_with_a_long_path_they_are_made_in_a_private_folder_of_its_own(long_runtime: Path) -> None:
    short = places.sockets()
    assert (short.parent, short.stat().st_mode & 0o777) == (Path("/tmp"), 0o700)
    assert places.sockets() == short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(short / SSH_NAME))


def test_a_folder_that_others_may_write_is_refused(long_runtime: Path) -> None:
    short = places.sockets()
    short.chmod(0o777)
    with pytest.raises(BoxwrightError, match="is not this user's alone"):
        places.sockets()
    short.chmod(0o700)


def test_a_link_to_somewhere_is_refused(long_runtime: Path, tmp_path: Path) -> None:
    short = places.sockets()
    short.rmdir()
    short.symlink_to(tmp_path)
    with pytest.raises(BoxwrightError, match="is not this user's alone"):
        places.sockets()
    short.unlink()


def test_the_longest_path_that_is_taken_still_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/tmp/") / ("b" * 40)  # 45 octets
    monkeypatch.setenv("BOXWRIGHT_RUNTIME", str(path))
    assert places.sockets() == path
    made = path / SSH_NAME
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(made))
    made.unlink()
    path.rmdir()
