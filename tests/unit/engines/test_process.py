"""Engines as processes: events are told apart from noise, and an ended run leaves no process behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from boxwright.engines.events import Event, Outcome, Phase
from boxwright.engines.process import Cancellation, Invocation, parse, stream

EVENT = Event(host="a", stage="base", resource="x", phase=Phase.FINISHED, outcome=Outcome.CHANGED)


def run(script: str, cancellation: Cancellation | None = None, stdin: str = "") -> tuple[int, list[Event], list[str]]:
    events: list[Event] = []
    noise: list[str] = []
    code = stream(
        Invocation((sys.executable, "-c", script), dict(os.environ), Path.cwd(), stdin),
        on_event=events.append,
        on_noise=noise.append,
        cancellation=cancellation or Cancellation(),
    )
    return code, events, noise


def test_events_and_noise() -> None:
    script = (
        f"import sys; print('hello'); print({EVENT.model_dump_json()!r}); print('oops', file=sys.stderr); sys.exit(2)"
    )
    code, events, noise = run(script)
    assert (code, events, sorted(noise)) == (2, [EVENT], ["hello", "oops"])


@pytest.mark.parametrize("line", ["{", '{"host": 1}', "[]", '{"a":' + "[" * 2000, "\x00", '{"host":"a"}\n'])
def test_what_is_no_event(line: str) -> None:
    assert parse(line) is None


def test_stdin_reaches_the_engine() -> None:
    _, _, noise = run("import sys; print(sys.stdin.read().upper())", stdin="secret")
    assert "SECRET" in noise


def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    deaf = "import subprocess, sys, signal; signal.signal(15, signal.SIG_IGN); "
    script = f"{deaf}subprocess.run([sys.executable, '-c', {child!r}])"
    cancellation = Cancellation()
    worker = threading.Thread(target=run, args=(script, cancellation))
    worker.start()
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    cancellation.cancel()
    worker.join(timeout=20)
    assert not worker.is_alive()
    status = Path("/proc", mark.read_text(), "stat")
    deadline = time.monotonic() + 10  # a process that was killed may still be on its way out
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "a child was left behind"
        time.sleep(0.05)


def test_a_cancelled_run_starts_nothing_that_stays() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    began = time.monotonic()
    code, _, _ = run("import time; time.sleep(60)", cancellation)
    assert code != 0
    assert time.monotonic() - began < 20


def test_a_listener_that_fails_ends_the_engine() -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(event.resource)

    script = f"import time; print({EVENT.model_dump_json()!r}, flush=True); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="x"):
        stream(
            Invocation((sys.executable, "-c", script), dict(os.environ), Path.cwd(), ""),
            on_event=fail,
            on_noise=lambda _: None,
            cancellation=Cancellation(),
        )
    assert time.monotonic() - began < 30
