"""A file is there whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.whole_files import write_whole


@pytest.fixture
def narrow() -> Iterator[None]:
    """No file of this process can grow beyond a thousand bytes, as on a disk that is full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_it_is_written_with_its_folders_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    assert write_whole(path, b"one", 0o600) == path
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    assert write_whole(path, b"two").read_bytes() == b"two"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_else(tmp_path: Path, narrow: None) -> None:
    path = write_whole(tmp_path / "file", b"old")
    with pytest.raises(OSError, match="File too large"):
        write_whole(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_that_somebody_put_in_its_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f".file.{os.getpid()}").symlink_to("victim")
    assert write_whole(tmp_path / "file", b"x").read_bytes() == b"x"
    assert (tmp_path / "victim").read_text() == "mine"


def test_its_bytes_are_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        seen.append((Path(f"/proc/self/fd/{descriptor}").read_bytes(), (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "file", b"bytes")
    assert seen == [(b"bytes", False)]
