"""Files of the controller on their way to the box over ssh, in pieces."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from pyinfra.api import FileUploadCommand, QuoteString, StringCommand

PIECE = 256 << 20  # of a file that is sent: what a broken connection costs
_PIECE_S = 3600  # at most, of one: thirty machines may share a line of 20 Mbit/s


class Piece(io.RawIOBase):
    """A piece of a file, read as it is sent: in memory, those of thirty machines would take 8 GB of the controller's.

    Args:
        file: The file, open for reading bytes.
        start: Where the piece begins.
        size: How long it is, at most: it ends with the file.
    """

    def __init__(self, file: io.BufferedReader, start: int, size: int) -> None:
        end = file.seek(0, io.SEEK_END)
        self._file, self._start, self._size, self._at = file, start, max(0, min(size, end - start)), 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """And from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the piece."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read on; 0 at the end of the piece."""
        self._file.seek(self._start + self._at)
        count = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._at)])
        self._at += count
        return count


class SendPieces(FileUploadCommand):
    """Sends what a part on the box lacks of a file of the controller: in pieces, so that a later run goes on there.

    Args:
        source: The file.
        part: The part on the box.
        start: Bytes that it has.
    """

    def __init__(self, source: Path, part: str, start: int) -> None:
        super().__init__(str(source), part)
        self.start = start

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:  # noqa: ARG002 - pyinfra's interface
        """Send each piece beside the part, and append it."""
        connector_arguments.update({"_timeout": _PIECE_S} | self.connector_arguments)
        piece, size = f"{self.dest}.piece", os.stat(self.src).st_size  # noqa: PTH116
        append = StringCommand("cat", QuoteString(piece), ">>", QuoteString(self.dest), "&& rm", QuoteString(piece))
        with Path(self.src).open("rb") as source:
            for at in range(self.start, size, PIECE):
                sent = host.put_file(
                    Piece(source, at, PIECE),
                    piece,
                    remote_temp_filename=host.get_temp_filename(piece),
                    **connector_arguments,
                )
                if not sent or not host.run_shell_command(append, **connector_arguments)[0]:
                    return False
                tell(host, f"sent {min(at + PIECE, size) / 1e9:.1f} of {size / 1e9:.1f} GB of {Path(self.src).name}")
        return True


def tell(host: Any, text: str) -> None:
    """Show how far it is where somebody watches: Boxwright's engine does, the plain pyinfra command does not."""
    watcher = getattr(host, "on_progress", None)
    if watcher is not None:
        watcher(text)


def source_of(directory: str, file: dict[str, Any], folders: tuple[str, ...]) -> Path | None:
    """Where the controller has a file of a build that lies in this directory of the box; None where it has not."""
    below = Path(directory).parts[-2:]
    return next((path for folder in folders for path in places(folder, below, file) if _fits(path, file)), None)


def places(folder: str, below: tuple[str, ...], file: dict[str, Any]) -> list[Path]:
    """Where a folder may have a file: as Boxwright lays models out, as the hub does, or beside each other."""
    home = Path(folder).expanduser()
    return [home.joinpath(*below, file["name"]), home / (file["path"] or file["name"]), home / file["name"]]


def _fits(path: Path, file: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == file["bytes"]
