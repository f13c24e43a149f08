"""One box's part of a job: connect, then each deploy in turn, until one fails."""

from __future__ import annotations

import time
from pathlib import Path

from boxwright.engines.events import Outcome
from boxwright.engines.pyinfra.execute import execute
from boxwright.engines.pyinfra.facts import Facts
from boxwright.engines.pyinfra.job import Job, JobHost
from boxwright.engines.pyinfra.prepare import prepare
from boxwright.engines.pyinfra.preview import preview
from boxwright.engines.pyinfra.report import Emit, Reporter, Verdict
from boxwright.engines.pyinfra.session import Session
from boxwright.errors import EngineError, UnreachableError
from boxwright.redaction import Redactor

CONNECT = "connect"
FACTS = "facts"  # the resource that tells the cost of a deploy: "N round trips"


class HostRun:
    """Runs a job's deploys on one host.

    Args:
        host: The box.
        job: What to run there.
        emit: Where Events go.
        redact: Takes the secrets out of them.
    """

    def __init__(self, host: JobHost, job: Job, emit: Emit, redact: Redactor) -> None:
        self._job = job
        self._host = host
        self._emit = emit
        self._redact = redact
        self._session = Session(host, deadline_s=job.operation_timeout_s)
        self._facts = Facts(self._session)
        self._data = {"_sudo": True, **host.data} if host.become else dict(host.data)

    def run(self) -> Outcome:
        """Run everything; return OK, FAILED or UNREACHABLE. All of it is reported."""
        try:
            self._connect()
            for deploy in self._job.deploys:
                outcome = self._deploy(Path(deploy).absolute())
                if outcome is not Outcome.OK:
                    return outcome
        except UnreachableError:
            return Outcome.UNREACHABLE
        finally:
            self._session.close()
        return Outcome.OK

    def _reporter(self, deploy: str | Path) -> Reporter:
        return Reporter(self._host.name, Path(deploy).stem, self._emit, self._redact)

    def _connect(self) -> None:
        report = self._reporter(self._job.deploys[0])
        started = time.monotonic()
        report.started(CONNECT)
        try:
            self._session.connect()
        except UnreachableError as error:
            report.finished(CONNECT, _unreachable(error, started))
            raise
        report.finished(CONNECT, Verdict(Outcome.OK, seconds=time.monotonic() - started))

    def _deploy(self, deploy: Path) -> Outcome:
        """Prepare and then preview or execute one deploy file."""
        report = self._reporter(deploy)
        trips_before = self._session.round_trips
        started = time.monotonic()
        report.started(FACTS)
        try:
            prepared = prepare(self._session, self._facts, self._data, deploy)
        except EngineError as error:
            message = f"{error.where}: {error.message}"
            report.finished(FACTS, Verdict(Outcome.FAILED, message, seconds=time.monotonic() - started))
            return Outcome.FAILED
        except UnreachableError as error:
            report.finished(FACTS, _unreachable(error, started))
            raise
        gathered = time.monotonic() - started
        try:
            if self._job.dry_run:
                preview(prepared, report)
                return Outcome.OK
            return execute(prepared, report)
        finally:
            trips = self._session.round_trips - trips_before
            noun = "round trip" if trips == 1 else "round trips"
            report.finished(FACTS, Verdict(Outcome.OK, f"{trips} {noun}", seconds=gathered))


def _unreachable(error: UnreachableError, started: float) -> Verdict:
    message = f"{error.message} {error.hint}".strip()
    return Verdict(Outcome.UNREACHABLE, message, seconds=time.monotonic() - started)
