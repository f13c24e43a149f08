"""One host's pytest process: its job is in memory only, and it is followed line by line under a deadline."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from boxwright import places
from boxwright.verification.check import Check, CheckOutcome, Line, PlannedCheck, Severity
from boxwright.verification.job import VerifyJob
from boxwright.verification.ssh import close_connections

_REPOSITORY = Path(__file__).resolve().parents[2]
# A check has a deadline for its fixtures and one for itself; a process that is silent for longer is stuck.
_GRACE_S = 30
_LAST_LINES = 10
_NOT_STARTED = PlannedCheck(
    id="suite.ran",
    title="The acceptance suite ran to its end",
    severity=Severity.CRITICAL,
    remedy="Read the last lines of pytest in the evidence, repair the suite, and verify again.",
)


class HostRun:
    """Verifies the only host of a job.

    Args:
        job: A job with one host.
        suite: The directory of the checks.
        on_check: Told each check as it ends.
    """

    def __init__(self, job: VerifyJob, suite: Path, on_check: Callable[[Check], None]) -> None:
        self._job = job
        self._host = job.hosts[0]
        self._suite = suite
        self._on_check = on_check
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._planned: dict[str, PlannedCheck] | None = None
        self._running: str | None = None
        self._checks: dict[str, Check] = {}

    def checks(self) -> list[Check]:
        """Run the suite to its end, whatever that is, and return one check for each promise."""
        with (
            tempfile.TemporaryDirectory(prefix="verify-", dir=places.sockets()) as scratch,
            tempfile.TemporaryFile() as output,
        ):
            try:
                reason = self._follow(Path(scratch), output)
            finally:
                self.stop()
                close_connections(Path(scratch))
            self._fail_what_is_missing(reason, _last_lines(output))
        return list(self._checks.values())

    def stop(self) -> None:
        """End the process and everything that it started. May be called from any thread, at any time."""
        with self._lock:
            self._stopped = True
            process = self._process
            if process is not None and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _follow(self, scratch: Path, output: IO[bytes]) -> str:
        """Start the process and read its lines to the end. Returns why it ended."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb", buffering=0) as stream:
            try:
                process = self._start(scratch, output, write_end)
            finally:
                os.close(write_end)
            if process is None:
                return "the run was stopped"
            limit = 2 * self._job.check_timeout_s + _GRACE_S
            try:
                for text in _lines(stream, limit):
                    self._take(text)
            except TimeoutError:
                return f"pytest was silent for {limit} s and was ended"
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_GRACE_S)
        return _ending(process.poll())

    def _start(self, scratch: Path, output: IO[bytes], write_end: int) -> subprocess.Popen[bytes] | None:
        """Start pytest, cut off from the user's pytest settings; None when the run was stopped before."""
        # The job goes through memory: no file on any disk ever holds its secrets.
        memory = os.memfd_create("boxwright-job")
        try:
            os.fchmod(memory, 0o600)
            with os.fdopen(os.dup(memory), "w", encoding="utf-8") as stream:
                stream.write(self._job.to_json())
            with self._lock:
                if self._stopped:
                    return None
                self._process = subprocess.Popen(
                    self._argv(memory, write_end),
                    cwd=_REPOSITORY,
                    env=_environment(scratch),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(memory, write_end),
                    start_new_session=True,
                )
                return self._process
        finally:
            os.close(memory)

    def _argv(self, memory: int, write_end: int) -> list[str]:
        plugins = ("testinfra.plugin", "boxwright.verification.plugin")
        return [
            *(sys.executable, "-m", "pytest", str(self._suite)),
            *("--config-file", os.devnull, "--rootdir", str(self._suite)),
            *(word for plugin in plugins for word in ("-p", plugin)),
            *("-p", "no:cacheprovider", "--continue-on-collection-errors", "--tb=line", "-q"),
            *("--boxwright-job", f"/dev/fd/{memory}", "--boxwright-checks-fd", str(write_end)),
        ]

    def _take(self, text: bytes) -> None:
        try:
            line = Line.model_validate_json(text)
        except ValidationError:
            return  # cut short by the end of the process: the check is reported as unfinished
        if line.planned is not None:
            self._planned = {planned.id: planned for planned in line.planned}
        elif line.started is not None:
            self._running = line.started
        elif line.finished is not None:
            self._finish(line.finished)

    def _finish(self, check: Check) -> None:
        self._checks[check.id] = check
        self._on_check(check)

    def _fail_what_is_missing(self, reason: str, last_lines: str) -> None:
        """Turn each planned check that was not heard of into a failure with a reason, or a waiver."""
        missing = [planned for planned in (self._planned or {}).values() if planned.id not in self._checks]
        if not self._planned and not self._checks:
            missing = [_NOT_STARTED]
            reason = f"{reason}: {last_lines}" if last_lines else reason
        for planned in missing:
            while_running = planned.id == self._running
            evidence = f"ended in the middle: {reason}" if while_running else f"did not run: {reason}"
            waiver = self._host.waivers.get(planned.id)
            self._finish(
                Check(
                    **planned.model_dump(),
                    host=self._host.name,
                    outcome=CheckOutcome.WAIVED if waiver else CheckOutcome.FAIL,
                    evidence=self._redacted(f"waived by {waiver} ({evidence})" if waiver else evidence),
                )
            )

    def _redacted(self, text: str) -> str:
        for spellings in self._host.known_secrets().values():
            for spelling in spellings:
                text = text.replace(spelling, "[REDACTED]")
        return text


def _lines(stream: IO[bytes], limit_s: float) -> Iterator[bytes]:
    """The lines of a pipe as they come, until its end. Raises TimeoutError when it is silent for too long."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(limit_s):
                raise TimeoutError
            chunk = stream.read(65536)
            if not chunk:
                return
            *whole, pending = (pending + chunk).split(b"\n")
            yield from whole


def _environment(scratch: Path) -> dict[str, str]:
    """The environment without the user's pytest options, with a temporary directory that goes when we go."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return environment | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(_REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch),
    }


def _ending(returncode: int | None) -> str:
    if returncode is None:
        return "pytest closed its stream and did not end"
    if returncode < 0:
        return f"pytest was killed by {signal.Signals(-returncode).name}"
    return f"pytest ended with exit code {returncode}"


def _last_lines(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())
