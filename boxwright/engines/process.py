"""Runs an engine as a process of its own group and reads its events. Ending a run ends that group and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from boxwright.engines.environment import kill_descendants
from boxwright.engines.events import Event

_GRACE_S = 5.0


@dataclass(frozen=True)
class Invocation:
    """An engine's command line. Secrets travel in `stdin` or in private files, never in `argv` or `environment`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stdin: str = ""


class Cancellation:
    """Tells every engine process of a run to end. Safe to use from any thread."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._parts: list[Cancellation] = []

    @property
    def cancelled(self) -> bool:
        """Whether the run was told to end."""
        return self._over.is_set()

    def part(self) -> Cancellation:
        """One of a part of the run, a host's: it ends with the run's, and can end alone."""
        own = Cancellation()
        with self._lock:
            self._parts.append(own)
        if self._over.is_set():
            own.cancel()
        return own

    def cancel(self) -> None:
        """End every engine process of the run, and let none start any more."""
        self._over.set()
        with self._lock:
            processes, parts = list(self._processes), list(self._parts)
        for process in processes:
            end_group(process)
        for part in parts:
            part.cancel()

    @contextlib.contextmanager
    def watching(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Have this process ended when the run is."""
        with self._lock:
            self._processes.add(process)
        if self._over.is_set():
            end_group(process)
        try:
            yield
        finally:
            with self._lock:
                self._processes.discard(process)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process group: politely, then after some seconds for good."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if how is signal.SIGKILL:
            kill_descendants(process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_S)
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the leader left behind


def stream(
    invocation: Invocation,
    *,
    on_event: Callable[[Event], None],
    on_noise: Callable[[str], None],
    cancellation: Cancellation,
) -> int:
    """Run an engine to its end.

    Args:
        invocation: What to run.
        on_event: Gets each event of its standard output.
        on_noise: Gets every line that is no event, of either output.
        cancellation: Ends the process when the run is told to end.

    Returns:
        The exit code; negative when a signal ended it. What `on_event` raises ends the engine and is raised again.
    """
    process = subprocess.Popen(
        invocation.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=invocation.directory,
        env=dict(invocation.environment),
        start_new_session=True,
    )
    assert process.stdin  # noqa: S101
    assert process.stdout  # noqa: S101
    assert process.stderr  # noqa: S101
    with cancellation.watching(process):
        stderr = threading.Thread(target=_drain, args=(process.stderr, on_noise), daemon=True)
        stderr.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(invocation.stdin)
            process.stdin.close()
        try:
            for line in process.stdout:
                event = parse(line)
                if event is None:
                    on_noise(line.rstrip("\n"))
                else:
                    on_event(event)
        except BaseException:
            end_group(process)
            raise
        process.wait()
        stderr.join(timeout=_GRACE_S)
    return process.returncode


def parse(line: str) -> Event | None:
    """The event on this line, or None when it is something else."""
    if not line.startswith('{"'):
        return None
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


def _drain(lines: Iterable[str], on_noise: Callable[[str], None]) -> None:
    for line in lines:
        on_noise(line.rstrip("\n"))
