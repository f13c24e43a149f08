"""The worker process: reads the job, runs each host in a greenlet, writes Events, sums up in an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import NoReturn

import gevent
from pydantic import ValidationError

from boxwright.engines.environment import end_with_parent
from boxwright.engines.events import Event, Outcome, Phase
from boxwright.engines.pyinfra import contexts
from boxwright.engines.pyinfra.hostrun import HostRun
from boxwright.engines.pyinfra.job import Job, JobHost
from boxwright.redaction import RedactingStream, Redactor


class WorkerExit(IntEnum):
    """What the worker's exit code means."""

    OK = 0
    BROKEN = 1
    FAILED = 2
    UNREACHABLE = 4
    STOPPED = 130


class EventPipe:
    """The real standard output: an Event is one line, written at once, so that a sudden end loses none."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.set_inheritable(self._fd, False)
        os.dup2(2, 1)

    def emit(self, event: Event) -> None:
        """Write one Event."""
        line = event.model_dump_json().encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]


def run_host(host: JobHost, job: Job, pipe: EventPipe, redact: Redactor) -> Outcome:
    """Run one host; a fault of our own in it is that host's failure and nobody else's."""
    try:
        return HostRun(host, job, pipe.emit, redact).run()
    except BrokenPipeError:
        raise
    except Exception as error:
        traceback.print_exc()
        message = redact(f"the worker broke: {type(error).__name__}: {error}")
        pipe.emit(
            Event(
                host=host.name,
                stage="pyinfra",
                resource="worker",
                phase=Phase.FINISHED,
                outcome=Outcome.FAILED,
                message=message,
            )
        )
        return Outcome.FAILED


def run_job(job: Job, pipe: EventPipe, redact: Redactor) -> WorkerExit:
    """Run every host in a greenlet of its own and sum up."""
    greenlets = [gevent.spawn(run_host, host, job, pipe, redact) for host in job.hosts]
    gevent.joinall(greenlets)
    outcomes = {greenlet.get() for greenlet in greenlets}
    if Outcome.FAILED in outcomes:
        return WorkerExit.FAILED
    return WorkerExit.UNREACHABLE if Outcome.UNREACHABLE in outcomes else WorkerExit.OK


def _stop(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the interface of signal handlers
    """End at once: Events are written unbuffered, and the kernel closes the connections."""
    os._exit(WorkerExit.STOPPED)


def main() -> int:
    """Read the job, run it, return the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    end_with_parent()
    pipe = EventPipe()
    try:
        job = Job.model_validate_json(sys.stdin.read())
    except ValidationError as error:
        # Not str(error): that quotes the input, secrets included.
        for problem in error.errors(include_input=False, include_url=False):
            where = ".".join(str(part) for part in problem["loc"])
            sys.stderr.write(f"bad job: {where}: {problem['msg']}\n")
        return WorkerExit.BROKEN
    redact = Redactor(host.data for host in job.hosts)
    stderr = RedactingStream(sys.stderr, redact)
    with contextlib.redirect_stdout(stderr), contextlib.redirect_stderr(stderr):
        logging.basicConfig(level=logging.WARNING, stream=stderr)
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its tracebacks repeat what Events say
        contexts.separate_hosts()
        sys.path.append(str(Path.cwd()))  # deploy files may import modules beside them, as with `pyinfra`
        try:
            return run_job(job, pipe, redact)
        except Exception:
            traceback.print_exc()
            return WorkerExit.BROKEN
        finally:
            stderr.finish()
