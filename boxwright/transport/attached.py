"""A script on a host whose standard input is this end of a connection: it can see when the controller is gone."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator

from boxwright.transport.ssh import Endpoint

_TAIL = 4000  # characters of its standard error that anybody would read


class Attached:
    """A running script. However the controller goes away, by a crash or a cut cable, its input ends or falls silent.

    Args:
        endpoint: The host.
        script: For bash, run there as root.
    """

    def __init__(self, endpoint: Endpoint, script: str) -> None:
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed in `end`
        self._sending = threading.Lock()
        self._process = subprocess.Popen(
            endpoint.command(script, shared=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us, who end it in order
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, line: str) -> None:
        """Write a line to it. Where it has ended, nothing is: its end tells why."""
        assert self._process.stdin  # noqa: S101  piped
        with self._sending, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it ends."""
        assert self._process.stdout  # noqa: S101  piped
        yield from self._process.stdout

    def first_line(self, patience_s: float) -> str:
        """The first line that it prints; empty when it ends, or when time is over and it is killed."""
        with self.at_most(patience_s):
            return next(self.lines(), "").strip()

    @contextlib.contextmanager
    def at_most(self, patience_s: float) -> Iterator[None]:
        """Kill this end of it when the context takes longer."""
        guard = threading.Timer(patience_s, self._process.kill)
        guard.start()
        try:
            yield
        finally:
            guard.cancel()

    def code(self) -> int:
        """Wait for its end. Its exit code; negative where this end was killed, `SSH_FAILED` where ssh failed."""
        return self._process.wait()

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        self._said.seek(0)
        return self._said.read()[-_TAIL:].strip()

    def end(self, patience_s: float) -> None:
        """Close its input, and wait for its end; after that time, cut the connection."""
        assert self._process.stdin  # noqa: S101  piped
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=patience_s)
        self._process.kill()
        self._process.wait()
        self._said.close()
