"""How far a fetch is: bytes, speed, time left."""

from __future__ import annotations

import collections
import threading
import time

WINDOW_S = 30.0  # of the speed that is told


def say(text: str) -> None:
    """Tell whoever watches how far it is."""
    print(f"progress: {text}", flush=True)  # noqa: T201 - a program of its own on the box


class Meter:
    """Counts bytes from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = self.done = self._received = 0
        self._seen: collections.deque[tuple[float, int]] = collections.deque([(time.monotonic(), 0)])

    def expect(self, count: int) -> None:
        """So many more bytes are wanted."""
        with self._lock:
            self.total += count

    def have(self, count: int) -> None:
        """So many bytes were here already."""
        with self._lock:
            self.done += count

    def got(self, count: int) -> None:
        """So many bytes arrived."""
        with self._lock:
            self.done += count
            self._received += count

    def lost(self, count: int) -> None:
        """So many bytes were thrown away."""
        with self._lock:
            self.done -= count

    def line(self, *, at_once: int) -> str:
        """All of it in one line."""
        with self._lock:
            now, done, total = time.monotonic(), self.done, self.total
            self._seen.append((now, self._received))
            while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_S:
                self._seen.popleft()
            since, before = self._seen[0]
            speed = (self._received - before) / max(now - since, 1e-6)
        text = f"{gigabytes(done)} of {gigabytes(total)} GB ({100 * done // max(total, 1)} %)"
        if at_once:
            text += f", {speed / 1e6:.1f} MB/s"
            text += f", {left((total - done) / speed)} left" if speed > 1 else ""
        return text


def gigabytes(count: int) -> str:
    """With as many digits as a change shows in."""
    return f"{count / 1e9:.1f}" if count >= 10e9 else f"{count / 1e9:.2f}"


def left(seconds: float) -> str:
    """A time that is an estimate, and reads like one."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
