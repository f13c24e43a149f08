"""Files of the controller on their way to the box: in pieces, which are not in memory as a whole."""

from __future__ import annotations

import io
import random
import tracemalloc
from pathlib import Path
from typing import IO, Any

import pytest

from deploys.operations import sending
from deploys.operations.sending import Piece, SendPieces

CONTENT = random.Random(5).randbytes(20_000_000)  # noqa: S311 - any bytes do


class Folder:
    """A host that is a folder: a piece is read by and by, as a connection takes it, and then appended."""

    def __init__(self) -> None:
        self.arrived = bytearray()
        self.pieces: list[int] = []
        self.limits: list[int] = []

    def get_temp_filename(self, name: str) -> str:
        return name

    def put_file(self, source: IO[bytes], _: str, *, _timeout: int, **__: Any) -> bool:
        size = source.seek(0, io.SEEK_END)
        source.seek(0)
        self.pieces.append(size)
        self.limits.append(_timeout)
        while block := source.read(1 << 16):
            self.arrived += block
        return True

    def run_shell_command(self, *_: Any, **__: Any) -> tuple[bool, None]:
        return True, None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    return path


def test_what_the_box_lacks_arrives_in_pieces(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PIECE", 8_000_000)
    host = Folder()
    assert SendPieces(file, "/part", 1_000_000).execute(None, host, {})
    assert host.arrived == CONTENT[1_000_000:]
    assert host.pieces == [8_000_000, 8_000_000, 3_000_000]


def test_a_piece_is_not_in_memory_as_a_whole_and_may_take_its_time(file: Path) -> None:
    """Each of thirty machines has a process here that sends, and its piece is of 256 MiB."""
    reading = Piece(file.open("rb"), 0, sending.PIECE)
    tracemalloc.start()
    total = sum(len(block) for block in iter(lambda: reading.read(1 << 16), b""))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == len(CONTENT)
    assert most < 2_000_000
    host = Folder()
    assert SendPieces(file, "/part", 0).execute(None, host, {})
    assert min(host.limits) * 20_000_000 / 30 / 8 > sending.PIECE  # thirty behind one line of 20 Mbit/s
