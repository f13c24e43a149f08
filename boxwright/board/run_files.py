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


def runs_of(root: Path, site: str) -> Iterator[Run]:
    """The runs of a site, the newest first. Those that do not say whose they are belong to nobody."""
    for path in sorted(root.glob("*/events.jsonl"), key=lambda path: path.parent.name, reverse=True):
        run = _head(path, site)
        if run is not None:
            yield run


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


def _head(path: Path, site: str) -> Run | None:
    try:
        with path.open("rb") as file:
            lines = [line for line in map(_object, file.read(_HEAD_BYTES).splitlines()[:2]) if line]
    except OSError:
        return None
    if [line.get("kind") for line in lines] != ["begin", "run"] or lines[1].get("site") != site:
        return None
    begin, about = lines
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
