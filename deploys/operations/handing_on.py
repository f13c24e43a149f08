"""Large files of models on a batch: one machine gets each of them from where it comes from, and hands it on.

Nobody depends on anybody: a machine that falls silent or hands on something wrong is asked no more, and who has waited
long enough takes the file from where it comes from, as without this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api import QuoteString, StringCommand
from pyinfra.connectors.util import CommandOutput

from deploys.operations.box import Box, FailedError, complaint
from deploys.operations.peers import ClosedError, Door, Registry
from deploys.operations.sending import SendPieces, source_of

_LOOK_EVERY_S = 0.5
_TELL_EVERY_S = 5.0
_MOST_DISTRUSTED = 2  # peers that failed a machine: then its own network is the likelier reason, and it asks none
_SHORT_S = 60  # for commands that only look, or make a folder


@dataclass(frozen=True)
class Fetch:
    """How files of one build get to their places on the box.

    Attributes:
        directory: Of the build.
        command: Words of the fetcher, with its request.
        headers: What it reads on standard input.
        folders: Folders of the controller that may have some files.
        slowest_s: Seconds that a file may take, by its bytes.
    """

    directory: str
    command: tuple[Any, ...]
    headers: str
    folders: tuple[str, ...]
    slowest_s: Callable[[int], int]

    def path(self, file: dict[str, Any]) -> str:
        """Where a file lies."""
        return f"{self.directory}/{file['name']}"

    def words(self, file: dict[str, Any], *further: Any) -> StringCommand:
        """The command that fetches one file."""
        name = QuoteString(file["name"])
        return StringCommand(*self.command, QuoteString(self.directory), "--file", name, *further)


class HaveHanded(StringCommand):
    """Has large files in their places, verified: handed on by other machines of the batch where that is possible.

    Args:
        fetch: How they get there.
        files: Which.
        hand_on: `folder`, `files` and `peers`, as Boxwright decided for this run.
    """

    def __init__(self, fetch: Fetch, files: Sequence[dict[str, Any]], hand_on: dict[str, Any]) -> None:
        super().__init__("take", *(QuoteString(file["name"]) for file in files), "or hand them on")
        self.fetch, self.files, self.hand_on = fetch, tuple(files), hand_on

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> tuple[bool, CommandOutput]:
        """Take one file after the other, whichever can be had."""
        connector_arguments.update(self.connector_arguments)
        taking = _Taking(self, _Box(state, host, dict(connector_arguments)))
        try:
            taking.all()
        except FailedError as failed:
            return False, failed.output
        except OSError as error:
            return False, complaint(f"{self.hand_on['folder']}: {error}")
        return True, CommandOutput([])


class _Box(Box):
    """Takes what the controller sends, too."""

    def send(self, source: Path, part: str, start: int) -> bool:
        return SendPieces(source, part, start).execute(self._state, self._host, dict(self._arguments))


class _Taking:
    """One box on its way to the files that it lacks."""

    def __init__(self, command: HaveHanded, box: _Box) -> None:
        self._fetch, self._box = command.fetch, box
        self._left = list(command.files)
        self._patience: dict[str, int] = command.hand_on["files"]
        self._peers = {one["name"]: one for one in command.hand_on["peers"]}
        self._registry = Registry(Path(command.hand_on["folder"]), box.name)
        self._distrusted: set[str] = set()
        self._since = self._told = time.monotonic()

    def all(self) -> None:
        """Have all files.

        Raises:
            FailedError: One of them cannot be had.
        """
        while self._left:
            got = next((file for file in self._left if self._handed(file)), None)
            got = got or next((file for file in self._left if self._brought(file)), None)
            if got is None:
                self._wait()
                continue
            self._left.remove(got)
            self._since = time.monotonic()

    def _usable(self, file: dict[str, Any]) -> list[str]:
        """The machines that may hand a file on to this one."""
        if len(self._distrusted) >= _MOST_DISTRUSTED:
            return []
        known = self._registry.holders(self._fetch.path(file))
        return [name for name in known if name in self._peers and name not in self._distrusted]

    def _handed(self, file: dict[str, Any]) -> bool:
        """Take a file from a machine that has it and hands nothing else on; tell whether that went well."""
        for name in self._usable(file):
            with self._registry.asking(name) as free:
                if not free:
                    continue
                try:
                    self._take(file, name)
                except (ClosedError, FailedError, OSError) as error:
                    reason = str(error).strip().rpartition("\n")[2]
                    self._box.tell(f"asks {name} no more: {reason or 'it handed nothing on in time'}")
                    self._distrusted.add(name)
                else:
                    self._registry.add(self._fetch.path(file))
                    return True
        return False

    def _take(self, file: dict[str, Any], name: str) -> None:
        path, own = self._fetch.path(file), self._peers[self._box.name]["address"]
        seconds = self._patience[path]
        with Door(self._peers[name], path, own, seconds).open() as url:
            self._box.tell(f"takes {file['name']} from {name}")
            self._box.must(self._fetch.words(file, "--peer", QuoteString(url)), seconds)

    def _brought(self, file: dict[str, Any]) -> bool:
        """Bring a file into the batch, unless another machine does; tell whether this was done.

        Raises:
            FailedError: It cannot be had.
        """
        alone = len(self._distrusted) >= _MOST_DISTRUSTED or self._waited > self._patience[self._fetch.path(file)]
        with self._registry.first(self._fetch.path(file)) as first:
            if not alone and (not first or self._usable(file)):
                return False
            self._bring(file)
            self._registry.add(self._fetch.path(file))  # before others may think that nobody has it
        return True

    def _bring(self, file: dict[str, Any]) -> None:
        """Take a file from where it comes from: the controller's folders, or what the request says."""
        source = source_of(self._fetch.directory, file, self._fetch.folders)
        seconds, command = self._fetch.slowest_s(file["bytes"]), self._fetch.words(file)
        if source is None:
            self._box.must(command, seconds, self._fetch.headers)
            return
        self._send(source, file)
        if not self._box.run(command, seconds, self._fetch.headers)[0]:
            # What a peer left of it may have been wrong, and was removed: once more, from its beginning.
            self._send(source, file)
            self._box.must(command, seconds, self._fetch.headers)

    def _send(self, source: Path, file: dict[str, Any]) -> None:
        part = f"{self._fetch.path(file)}.part"
        folder = QuoteString(part.rpartition("/")[0])
        size = StringCommand("mkdir -p -m 755", folder, "&& stat -c %s", QuoteString(part), "2>/dev/null || echo 0")
        start = int(self._box.must(size, _SHORT_S).strip() or 0)
        if not self._box.send(source, part, start):
            raise FailedError(complaint(f"{source} could not be sent to {part}"))

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._since

    def _wait(self) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            names = ", ".join(file["name"] for file in self._left[:2])
            self._box.tell(f"waits for another machine, which gets {names}: {self._waited:.0f} s")
        time.sleep(_LOOK_EVERY_S)
