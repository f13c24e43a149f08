"""Runs the steps of a sweep: the generator in a process of its own, and the way to the engine itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from boxwright.bench.job import Answered, Job
from boxwright.errors import BoxwrightError
from boxwright.transport.ssh import Endpoint

_CALIBRATION_WORDS = 200
_TUNNEL_S = 20
_ENDING_S = 5  # that a process has to end when it is asked to


def run_job(job: Job) -> list[Answered]:
    """Send all requests of a job, and wait for their answers.

    Raises:
        BoxwrightError: The generator itself failed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "boxwright.bench.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
        assert process.stdin  # noqa: S101  piped
        assert process.stdout  # noqa: S101  piped
        try:
            process.stdin.write(job.model_dump_json())
            process.stdin.close()
            answered = [Answered.model_validate_json(line) for line in process.stdout]
            code = process.wait()
        finally:
            _end(process)
        if code or len(answered) < job.requests:
            said.seek(0)
            raise BoxwrightError(
                f"the load generator ended with code {code} after {len(answered)} of {job.requests} requests",
                output=said.read()[-2000:],
            )
    return answered


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children, should they still be there."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def words_for(job: Job, context_tokens: int) -> int:
    """How many words a question has whose tokens, with those of the answer, fill a context: asked of the engine.

    Raises:
        BoxwrightError: It does not answer, or does not count its tokens.
    """
    trial = job.model_copy(
        update={"words": _CALIBRATION_WORDS, "answer_tokens": 1, "concurrency": 1, "requests": 2, "seed": -1}
    )
    good = [one for one in run_job(trial) if not one.error and one.prompt_tokens]
    if not good:
        raise BoxwrightError("no answer that could be measured came back", where=job.url, hint="./invoke verify")
    per_word = good[-1].prompt_tokens / _CALIBRATION_WORDS
    return max(1, int((context_tokens - job.answer_tokens) / per_word))


@contextmanager
def way_to(endpoint: Endpoint, port: int) -> Iterator[int]:
    """A port of this machine that leads to one of loopback on a host, by ssh.

    Raises:
        BoxwrightError: ssh does not get there.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    words = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
    command = ["ssh", *endpoint.options(shared=False), "-l", endpoint.user, *words, "--", endpoint.address]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_for(process, here, endpoint)
        yield here
    finally:
        _end(process)


def _wait_for(process: subprocess.Popen[str], port: int, endpoint: Endpoint) -> None:
    until = time.monotonic() + _TUNNEL_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise BoxwrightError("ssh opened no way to the engine", where=endpoint.name)
