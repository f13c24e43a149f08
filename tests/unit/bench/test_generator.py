"""The load generator against a server of the test's own, whose speed is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from streaming_server import FIRST_S, GAP_S, PIECES, Server, streaming_server

from boxwright.bench.figures import figures
from boxwright.bench.job import Job
from boxwright.bench.sweep import run_job, words_for
from boxwright.errors import BoxwrightError


@pytest.fixture
def server() -> Iterator[Server]:
    with streaming_server() as made:
        yield made


def job(server: Server, **changes: Any) -> Job:
    said = {"words": 10, "answer_tokens": PIECES, "concurrency": 2, "requests": 5, "timeout_s": 2.0} | changes
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return Job(url=url, key=SecretStr("the-key"), model="a-model", **said)


def test_times_are_those_of_the_server(server: Server) -> None:
    answered = run_job(job(server, engine_settings={"ignore_eos": True}))
    found = figures(answered)
    assert (found.requests, found.failed) == (5, 0)
    assert found.first_s
    assert found.gap_s
    assert FIRST_S <= found.first_s.p50 < FIRST_S + 0.5  # a busy machine is late, and never early
    assert GAP_S * 0.8 <= found.gap_s.p50 < GAP_S + 0.2
    assert found.prompt_tokens == 20
    assert all(one.tokens == PIECES and len(one.gaps_s) == PIECES - 1 for one in answered)
    assert server.most == 2
    assert server.keys == {"Bearer the-key"}
    assert len({body["messages"][0]["content"] for body in server.asked}) == 5
    assert all(body["ignore_eos"] and body["stream"] for body in server.asked)


def test_what_is_turned_away_and_what_is_silent_has_failed(server: Server) -> None:
    server.mood = "too many"
    assert {one.error for one in run_job(job(server))} == {"HTTP 429"}
    server.mood = "silent"
    silent = run_job(job(server, requests=2, timeout_s=1.0))
    assert all(one.timed_out and one.error for one in silent)


def test_a_server_may_end_each_connection_behind_a_tunnel(server: Server) -> None:
    server.mood = "dying"
    assert {one.error for one in run_job(job(server, timeout_s=30.0))} == {""}


def test_a_server_that_is_not_there(server: Server) -> None:
    nowhere = job(server).model_copy(update={"url": "http://127.0.0.1:9/v1"})
    assert all(one.error and not one.timed_out for one in run_job(nowhere))
    with pytest.raises(BoxwrightError, match="no answer that could be measured"):
        words_for(nowhere, 512)


def test_questions_fill_the_context(server: Server) -> None:
    assert words_for(job(server), 512 + PIECES) == 256  # two tokens a word
