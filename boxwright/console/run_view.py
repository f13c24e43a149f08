"""The view of a run: fed by both engines from any thread, drawn live, as a plain log or as JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live

from boxwright.console.run_lines import failure_line, heartbeat_line, live_lines, note_line, stage_line
from boxwright.console.run_state import HostProgress, HostState, RunProgress, StageState
from boxwright.console.summary import summary_fields, summary_grids
from boxwright.engines.events import Event
from boxwright.errors import BoxwrightError

if TYPE_CHECKING:
    from rich.table import Table

    from boxwright.console.console import Console

HEARTBEAT_SECONDS = 30.0


class RunView:
    """Live progress of a run. Enter it by `with`; feed it from one thread or several.

    On leaving, each failure is told once: where, why, the last ten lines of output, and what to do next.

    Args:
        console: Where to draw.
        title: What the run does, as its first line.
        hosts: The hosts, in the order in which they are shown.
        stages: The stages that every host goes through.
        log: Where the full log is, for whoever has to read on.
        serials: Serial numbers of hosts, by their names.
        heartbeat: After how many silent seconds a plain log gets a line about a busy host.
        clock: A monotonic clock.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        hosts: Sequence[str],
        stages: Sequence[str],
        *,
        log: str = "",
        serials: Mapping[str, str] | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._title = title
        self._log = log
        self._heartbeat = heartbeat
        self._clock = clock
        self._progress = RunProgress(hosts, stages)
        for name, serial in (serials or {}).items():
            self._progress.hosts[name].serial = serial
        # Guards the progress. Never held while printing: rich's live display has a lock of its own, and its
        # refresh thread takes that one first and then this one.
        self._lock = threading.Lock()
        self._plain = not console.json and not console.live
        self._live: Live | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        hosts, stages = list(self._progress.hosts), self._progress.stages
        self._console.data("run", {"title": self._title, "hosts": hosts, "stages": stages})
        self._console.line(self._title, style="bold")
        if self._plain:
            threading.Thread(target=self._beat, name="console-heartbeat", daemon=True).start()
        elif not self._console.json:
            self._live = Live(
                console=self._console.screen, get_renderable=self._draw, refresh_per_second=6, transient=False
            )
            self._console.view_is_live(True)
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._progress.close(self._clock(), interrupted=kind is not None)
            failures = self._progress.failures(self._log)
        self._over.set()
        if self._live is not None:
            self._live.stop()
            self._console.view_is_live(False)
        for failure in failures:
            self._console.error(failure)

    def event(self, event: Event) -> None:
        """Take in one step of one resource."""
        with self._lock:
            now = self._clock()
            host = self._progress.event(event, now)
            line = self._spoken(host, now, failure_line(self._progress, host)) if event.failed else ""
        self._console.data("event", event.model_dump(mode="json"))
        self._log_line(line)

    def stage(self, host: str, stage: str, state: StageState, seconds: float) -> None:
        """Take in that a stage began or ended on a host; `seconds` counts once it ended."""
        with self._lock:
            now = self._clock()
            at = self._progress.stage(host, stage, state, seconds, now)
            line = "" if state == "running" else self._spoken(at, now, stage_line(self._progress, at, stage))
        self._console.data("stage", {"host": host, "stage": stage, "state": state, "seconds": round(seconds, 3)})
        self._log_line(line)

    def fail(self, host: str, stage: str, error: BoxwrightError) -> None:
        """Take in that a host stopped for a reason outside its resources, such as an engine that died."""
        with self._lock:
            now = self._clock()
            at = self._progress.fail(host, stage, error, now)
            line = self._spoken(at, now, failure_line(self._progress, at))
        self._console.data("stage", {"host": host, "stage": stage, "state": "failed", "seconds": 0.0})
        self._log_line(line)

    def note(self, host: str, text: str) -> None:
        """Say something about a host, such as that it waits for another run to end."""
        with self._lock:
            line = note_line(self._progress, host, text)
        self._console.data("note", {"host": host, "text": text})
        self._console.line(line)

    def summary(self) -> None:
        """Show how long each stage took on each host, and how much it changed."""
        with self._lock:
            now = self._clock()
            payloads = summary_fields(self._progress, now)
            grids = summary_grids(self._progress, now, self._console.screen.width)
        for payload in payloads:
            self._console.data("summary", payload)
        if not self._console.json:
            for grid in grids:
                self._console.table(grid.title, grid.columns, grid.rows, kind="summary")

    def _draw(self) -> Table:
        with self._lock:
            # One line less than the terminal has: the cursor waits below.
            height = self._console.screen.height - 1
            return live_lines(self._progress, self._clock(), self._console.symbols, height)

    def _log_line(self, line: str) -> None:
        if line and self._plain:
            self._console.line(line)

    @staticmethod
    def _spoken(host: HostProgress, now: float, line: str) -> str:
        host.spoke = now
        return line

    def _beat(self) -> None:
        """Say now and then what silent hosts are at, so that a reader of the log knows that they live."""
        while not self._over.wait(min(1.0, self._heartbeat / 4)):
            with self._lock:
                now = self._clock()
                lines = [
                    self._spoken(host, now, heartbeat_line(self._progress, host, now))
                    for host in self._progress.hosts.values()
                    if host.state is HostState.BUSY and now - host.spoke >= self._heartbeat
                ]
            for line in lines:
                self._console.line(line)
