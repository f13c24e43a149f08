"""The log of a run on the controller: JSON lines, private to the operator, closed by a line that says how it ended."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import secrets
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from boxwright import places
from boxwright.redaction import Redactor


def operator() -> str:
    """Who runs this, as `user@controller`; behind sudo, the person and not root."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunLog:
    """An open log. Every line is a JSON object with `at` and `kind`; written through at once, from any thread.

    As a context it closes itself, and its last line tells whether it was left in peace, by an error or by Ctrl-C.
    """

    def __init__(self, verb: str, redact: Redactor) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.id = f"{stamp}-{secrets.token_hex(3)}"
        self.directory = places.state() / "runs" / self.id
        self.directory.mkdir(mode=0o700, parents=True)
        self.path: Path = self.directory / "events.jsonl"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with this process, so that readers know when it was killed
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)
        self._redact = redact
        self._lock = threading.Lock()
        self.write("begin", {"verb": verb, "run": self.id, "by": operator()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close("ok")
        else:
            self.close("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def write(self, kind: str, payload: dict[str, Any]) -> None:
        """Add a line."""
        line = self._redact(json.dumps({"at": now(), "kind": kind, **payload}, default=str))
        with self._lock:
            if not self._file.closed:
                self._file.write(line + "\n")

    def close(self, ended: str) -> None:
        """Add the last line and close: `ok`, `failed` or `interrupted`. What is closed stays as it is."""
        self.write("end", {"ended": ended})
        with self._lock:
            self._file.close()
