"""What processes take: memory of a command's own, and processor time of those that run already."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

_LOOK_EVERY_S = 2.0  # adding up the pages of some hundred processes takes time that the runs would have


class Memory:
    """The most memory, in MiB, that a command's processes together have held; shared pages count once (PSS).

    Twins and the lab's proxy are children of ours, too: what there is before the command starts is left out.
    """

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._others = set(_children(os.getpid()))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self.peak_mib = max(self.peak_mib, sum(map(_pss_mib, self._own())))

    def _own(self) -> Iterator[int]:
        for child in set(_children(os.getpid())) - self._others:
            yield from family(child)


def family(pid: int) -> Iterator[int]:
    """A process and everything that it started, as far as it still runs."""
    yield pid
    for child in _children(pid):
        yield from family(child)


def twins(site: str) -> list[int]:
    """The processes in which the twins of a site run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == b"systemd-nspawn" and any(one.startswith(f"--hostname={site}-".encode()) for one in words):
                found.append(int(folder.name))
    return found


def processor_seconds(roots: Iterable[int]) -> float:
    """What these processes and theirs have taken; those that have ended count with who waited for them."""
    ticks = sum(sum(map(int, _fields(pid)[11:15])) for root in roots for pid in family(root))
    return ticks / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    """`/proc/PID/stat` behind the name: times stand at 11 to 14."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 15


def _children(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path("/proc", str(pid), "task").iterdir())
    except OSError:  # it has ended meanwhile
        return
    for task in tasks:
        try:
            yield from map(int, (task / "children").read_text().split())
        except OSError:
            continue


def _pss_mib(pid: int) -> float:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
