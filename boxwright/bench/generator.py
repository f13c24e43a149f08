"""Runs one job by Locust: `python -m boxwright.bench.generator`, with the job as JSON on its standard input.

Writes one line of JSON for each request. Locust replaces blocking calls of Python by its own, so nothing else of
Boxwright runs in this process.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from locust import HttpUser, constant, task  # first of all: it patches sockets and threads
from locust.env import Environment
from requests import RequestException, Response, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from boxwright.bench.job import Answered, Job

# Common words, each of which is one token of most vocabularies.
_TEXT = """
    time year people way day man thing woman life child world school state family student group country problem hand
    part place case week company system program question work government number night point home water room mother
    area money story fact month lot right study book eye job word business issue side kind head house service friend
"""
_WORDS = _TEXT.split()
_MOST_BYTES = 1 << 16


def run(job: Job) -> None:
    """Send all requests of a job."""
    if job.address:
        _resolve(job.url.split("/")[2].rpartition(":")[0] or job.url.split("/")[2], job.address)
    begun = time.monotonic()
    left = iter(range(job.requests))

    class Client(HttpUser):
        """One of those who ask at the same time: the next question follows the last answer."""

        host = job.url
        wait_time = constant(0)

        @task
        def ask(self) -> None:
            number = next(left, None)
            if number is None:
                self.stop()
                return
            answered = _ask(self.client, job, number, begun)
            # llama-server ends a connection after each stream without saying so before; one that looks open through ssh
            # can be dead already, so none is used twice.
            self.client.close()
            sys.stdout.write(answered.model_dump_json() + "\n")
            sys.stdout.flush()

    environment = Environment(user_classes=[Client])
    runner = environment.create_local_runner()
    runner.start(job.concurrency, spawn_rate=job.concurrency)
    spawning = runner.spawning_greenlet
    while runner.user_count or (spawning and not spawning.dead):
        time.sleep(0.05)
    runner.quit()


def _ask(client: Any, job: Job, number: int, begun: float) -> Answered:
    began, first = time.monotonic(), None
    gaps: list[float] = []
    usage: dict[str, int] = {}
    body = {
        "model": job.model,
        "messages": [{"role": "user", "content": question(job, number)}],
        "max_tokens": job.answer_tokens,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **job.engine_settings,
    }

    def ended(error: str = "", *, timed_out: bool = False) -> Answered:
        now = time.monotonic()
        return Answered(
            began_s=began - begun,
            seconds=now - began,
            first_s=None if first is None else first - began,
            gaps_s=tuple(gaps),
            prompt_tokens=usage.get("prompt_tokens") or 0,
            tokens=usage.get("completion_tokens") or 0,
            error=error,
            timed_out=timed_out,
        )

    try:
        with client.post(
            "/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {job.key.get_secret_value()}", "Connection": "close"},
            verify=job.authority or True,
            timeout=(10, job.timeout_s),
            stream=True,
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                return ended(f"HTTP {answer.status_code}" if answer.status_code else _unanswered(answer))
            last = began
            for piece in _pieces(answer):
                usage = piece.get("usage") or usage
                if _says(piece):
                    now = time.monotonic()
                    if first is None:
                        first = now
                    else:
                        gaps.append(now - last)
                    last = now
            if first is None and not usage.get(
                "completion_tokens"
            ):  # a model may say nothing but what shows as nothing
                return ended("it ended without a word")
            return ended()
    except (Timeout, ReadTimeoutError):
        return ended("no answer in time", timed_out=True)
    except (RequestException, HTTPError, OSError, ValueError) as error:
        return ended(type(error).__name__)


def _unanswered(answer: Any) -> str:
    """Locust gives a response of status 0 where there was no answer."""
    return type(getattr(answer, "error", None)).__name__


def _pieces(answer: Response) -> Iterator[dict[str, Any]]:
    """The server-sent events of an answer, each as soon as it is here: `iter_lines` would wait for 512 bytes."""
    rest = b""
    while arrived := answer.raw.read1(_MOST_BYTES):
        *lines, rest = (rest + arrived).split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                yield json.loads(line.removeprefix(b"data: "))


def _says(piece: dict[str, Any]) -> bool:
    """Whether a piece holds a part of the answer, or of the thoughts before it."""
    choices = piece.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return bool(delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning"))


def question(job: Job, number: int) -> str:
    """The words of a question, others for each."""
    draw = random.Random(f"{job.seed} {number}")  # noqa: S311  no secret
    return " ".join(draw.choice(_WORDS) for _ in range(job.words))


def _resolve(name: str, address: str) -> None:
    """Let a name that no name server knows lead to an address."""
    found = socket.getaddrinfo

    def told(host: Any, *rest: Any, **named: Any) -> Any:
        return found(address if host == name else host, *rest, **named)

    socket.getaddrinfo = told


if __name__ == "__main__":
    run(Job.model_validate_json(sys.stdin.read()))
