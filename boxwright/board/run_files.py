"""The logs of runs, read while they are written: the newest ones of a site, and each from where the last look ended."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEAD_BYTES = 65_536  # the two lines that tell whose run it is, with its hosts


@dataclass(frozen=True)
class Run:
    """What a log says of itself in its first lines."""

    path: Path
    id: str
    verb: str
    by: str
    profile: str
    stages: tuple[str, ...]
    hosts: tuple[dict[str, str], ...]

    @property
    def began(self) -> str:
        """When, to the second, as its id begins with it."""
        return self.id.rpartition("-")[0]


@dataclass
class Follower:
    """Reads a log on from where it ended the last time. Half a line waits for its other half."""

    path: Path
    _at: int = field(default=0, init=False)

    def more(self) -> Iterator[dict[str, Any]]:
        """The lines that were added since."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:  # removed meanwhile
            return
        whole = data.rfind(b"\n") + 1
        self._at += whole
        yield from (line for line in map(_object, data[:whole].splitlines()) if line is not None)


class Runs:
    """The runs of a site, in a folder where runs of others lie, too. Each log's first lines are read once.

    Args:
        root: The folder.
        site: Whose.
    """

    def __init__(self, root: Path, site: str) -> None:
        self._root = root
        self._site = site
        self._known: dict[Path, Run | None] = {}  # None: of others, or of nobody

    def newest_first(self) -> list[Run]:
        """Those that say that they are the site's."""
        found = []
        for path in sorted(self._root.glob("*/events.jsonl"), key=lambda path: path.parent.name, reverse=True):
            if path not in self._known:
                head = _head(path)
                if len(head) < 2 and is_written(path):  # it has only begun
                    continue
                self._known[path] = _run(path, head, self._site)
            if (run := self._known[path]) is not None:
                found.append(run)
        return found


def is_written(path: Path) -> bool:
    """Whether the process that writes a log still lives: its lock ends with it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _head(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD_BYTES)
    except OSError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    return [line for line in map(_object, whole.splitlines()[:2]) if line is not None]


def _run(path: Path, head: list[dict[str, Any]], site: str) -> Run | None:
    if [line.get("kind") for line in head] != ["begin", "run"] or head[1].get("site") != site:
        return None
    begin, about = head
    try:
        return Run(
            path=path,
            id=str(begin["run"]),
            verb=str(begin["verb"]),
            by=str(begin["by"]),
            profile=str(about["profile"]),
            stages=tuple(map(str, about["stages"])),
            hosts=tuple({key: str(value) for key, value in host.items()} for host in about["hosts"]),
        )
    except (KeyError, TypeError, AttributeError):
        return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
