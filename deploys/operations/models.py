"""Operations that bring the weights of models to the box."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import files as file_operations

from deploys.facts.models import BuildFile, BuildFiles
from deploys.operations.files import PROGRAMS
from deploys.operations.install import program

PROGRAM = f"{PROGRAMS}/fetch-model.d"
_MODULES = ("__main__", "files", "packages", "progress", "transfer")
_RIGHT = "644 root root"

# The program gives up by itself on a source that falls silent; this bounds one that trickles.
_SLOWEST_BYTES_PER_S = 1_000_000
_SLOWEST_START_S = 900
_PIECE = 256 << 20  # of a file that is sent: what a broken connection costs


def fetcher() -> None:
    """Put the program that fetches verified files on the box."""
    file_operations.directory(
        name="Make the folder of the fetcher", path=PROGRAM, user="root", group="root", mode="755"
    )
    for module in _MODULES:
        program(f"fetch-model.d/{module}.py", f"models/fetch_model/{module}.py")


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
        connector_arguments.update(self.connector_arguments)
        piece, size = f"{self.dest}.piece", os.stat(self.src).st_size  # noqa: PTH116
        append = StringCommand("cat", QuoteString(piece), ">>", QuoteString(self.dest), "&& rm", QuoteString(piece))
        with Path(self.src).open("rb") as source:
            for at in range(self.start, size, _PIECE):
                source.seek(at)
                sent = host.put_file(
                    io.BytesIO(source.read(_PIECE)),
                    piece,
                    remote_temp_filename=host.get_temp_filename(piece),
                    **connector_arguments,
                )
                if not sent or not host.run_shell_command(append, **connector_arguments)[0]:
                    return False
                _tell(host, f"sent {min(at + _PIECE, size) / 1e9:.1f} of {size / 1e9:.1f} GB of {Path(self.src).name}")
        return True


def _tell(host: Any, text: str) -> None:
    """Show how far it is where somebody watches: Boxwright's engine does, the plain pyinfra command does not."""
    watcher = getattr(host, "on_progress", None)
    if watcher is not None:
        watcher(text)


@operation()
def fetched_build(
    build: dict[str, Any], request: str, folders: tuple[str, ...] = (), headers: dict[str, dict[str, str]] | None = None
) -> Iterator[PyinfraCommand]:
    """Have every file of a build, with its size and digest, readable by every engine's user.

    Args:
        build: `directory` and `files`, each with `name`, `path`, `bytes` and `sha256`.
        request: The request file that names their sources.
        folders: Folders of the controller that may have some of them.
        headers: What hubs are told besides, by their origin: credentials, which no file on the box keeps.
    """
    directory, files = build["directory"], build["files"]
    there = host.get_fact(BuildFiles, directory=directory, names=tuple(file["name"] for file in files))
    missing = [file for file in files if not _is_right(file, there)]
    yield from _sent(directory, missing, there, folders)
    if missing:
        yield StringCommand(
            *("python3 -I -B", PROGRAM, QuoteString(request), QuoteString(directory)),
            _timeout=_SLOWEST_START_S + sum(file["bytes"] for file in missing) // _SLOWEST_BYTES_PER_S,
            _stdin=json.dumps(headers or {}),
        )
        return
    odd = [f"{directory}/{file['name']}" for file in files if there[file["name"]].access != _RIGHT]
    if odd:
        quoted = [QuoteString(path) for path in odd]
        yield StringCommand("chown root:root", *quoted, "&& chmod 644", *quoted)
    else:
        host.noop(f"{directory} was verified")


def _is_right(file: dict[str, Any], there: dict[str, BuildFile]) -> bool:
    found = there.get(file["name"])
    return found is not None and (found.size, found.sha256) == (file["bytes"], file["sha256"])


def _sent(
    directory: str, missing: list[dict[str, Any]], there: dict[str, BuildFile], folders: tuple[str, ...]
) -> Iterator[PyinfraCommand]:
    """Send what the controller has. The fetcher, which comes after, takes a whole part and verifies it."""
    below = Path(directory).parts[-2:]
    for file in missing:
        source = next((path for folder in folders for path in _places(folder, below, file) if _fits(path, file)), None)
        if source is None:
            continue
        part = f"{directory}/{file['name']}.part"
        yield StringCommand("mkdir -p -m 755", QuoteString(part.rpartition("/")[0]))
        have = there.get(f"{file['name']}.part")
        yield SendPieces(source, part, have.size if have else 0)


def _places(folder: str, below: tuple[str, ...], file: dict[str, Any]) -> list[Path]:
    """Where a folder may have a file: as Boxwright lays models out, as the hub does, or beside each other."""
    home = Path(folder).expanduser()
    return [home.joinpath(*below, file["name"]), home / (file["path"] or file["name"]), home / file["name"]]


def _fits(path: Path, file: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == file["bytes"]
