"""Power, memory and temperature of NVIDIA's cards while a box works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field

from boxwright.transport.ssh import Endpoint

_QUERY = "power.draw,memory.used,temperature.gpu"
_EVERY_S = 1


@dataclass(frozen=True)
class Reading:
    """All cards of a box at one moment.

    Attributes:
        watts: Of all cards together.
        memory_gib: Of the fullest card.
        celsius: Of the hottest card.
    """

    watts: float
    memory_gib: float
    celsius: float


@dataclass
class CardWatch:
    """Reads the cards once a second, in a context, over one ssh connection."""

    endpoint: Endpoint
    cards: int
    readings: list[Reading] = field(default_factory=list)

    def __enter__(self) -> CardWatch:
        script = f"exec nvidia-smi --query-gpu={_QUERY} --format=csv,noheader,nounits -l {_EVERY_S}"
        self._process = subprocess.Popen(
            self.endpoint.command(script, shared=False),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101  piped
        rows: list[tuple[float, float, float]] = []
        for line in self._process.stdout:
            row = card_row(line)
            if row is None:
                continue
            rows.append(row)
            if len(rows) == self.cards:
                self.readings.append(together(rows))
                rows = []

    @property
    def most(self) -> Reading | None:
        """The highest of each, over the whole time; None where no card was read."""
        if not self.readings:
            return None
        return Reading(
            max(one.watts for one in self.readings),
            max(one.memory_gib for one in self.readings),
            max(one.celsius for one in self.readings),
        )


def card_row(line: str) -> tuple[float, float, float] | None:
    """A line of nvidia-smi: watts, MiB and degrees; None where it tells anything else."""
    cells = [cell.strip() for cell in line.split(",")]
    try:
        watts, mib, celsius = map(float, cells)
    except ValueError:
        return None
    return watts, mib, celsius


def together(rows: list[tuple[float, float, float]]) -> Reading:
    """Several cards at one moment."""
    watts, mib, celsius = zip(*rows, strict=True)
    return Reading(sum(watts), max(mib) / 1024, max(celsius))
