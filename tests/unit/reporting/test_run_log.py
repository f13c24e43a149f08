"""The log of a run: for its operator alone, without secrets, and closed by how it ended."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from boxwright.redaction import Redactor
from boxwright.reporting.run_log import RunLog, operator

SECRET = 'p"ass\\word with ä'
pytestmark = pytest.mark.usefixtures("own_places")


def make(verb: str = "provision") -> RunLog:
    return RunLog(verb, Redactor([{"api_password": SECRET}]))


def lines(log: RunLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_it_opens_with_who_runs_what() -> None:
    log = make("plan")
    (begin,) = lines(log)
    assert (begin["kind"], begin["verb"], begin["run"], begin["by"]) == ("begin", "plan", log.id, operator())


def test_behind_sudo_the_person_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    assert operator().startswith("ada@")


def test_no_other_user_can_read_it_whatever_the_umask() -> None:
    before = os.umask(0)
    try:
        log = make()
    finally:
        os.umask(before)
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.directory.stat().st_mode & 0o777 == 0o700


def test_two_runs_of_one_second_have_a_log_each() -> None:
    assert make().path != make().path


def test_secrets_are_taken_out_however_deep_they_stand() -> None:
    log = make()
    log.write("event", {"output": f"login {SECRET} failed", "nested": [{"diff": f"-old\n+{SECRET}"}]})
    text = log.path.read_text()
    assert SECRET not in text
    assert json.dumps(SECRET)[1:-1] not in text
    event = lines(log)[-1]
    assert event["output"] == "login [REDACTED] failed"
    assert event["nested"] == [{"diff": "-old\n+[REDACTED]"}]


def test_every_line_is_on_disk_before_the_log_is_closed() -> None:
    log = make()
    log.write("stage", {"host": "box", "stage": "base"})
    assert [line["kind"] for line in lines(log)] == ["begin", "stage"]


def test_what_json_does_not_know_is_written_as_text() -> None:
    log = make()
    log.write("noise", {"path": Path("/etc")})
    assert lines(log)[-1]["path"] == "/etc"


def test_lines_of_many_threads_stay_whole() -> None:
    log = make()
    threads = [
        threading.Thread(target=lambda: [log.write("noise", {"line": "x" * 3000}) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(log)) == 1 + 8 * 50


def test_the_last_line_tells_that_all_was_well() -> None:
    with make() as log:
        pass
    assert (lines(log)[-1]["kind"], lines(log)[-1]["ended"]) == ("end", "ok")


@pytest.mark.parametrize(("error", "ended"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_the_last_line_tells_what_broke_the_run_off(error: type[BaseException], ended: str) -> None:
    log = make()
    with pytest.raises(error), log:
        raise error
    assert (lines(log)[-1]["kind"], lines(log)[-1]["ended"]) == ("end", ended)


def test_what_was_closed_stays_as_it_is() -> None:
    with make() as log:
        log.close("failed")
        log.write("noise", {"line": "too late"})
    assert [line.get("ended") for line in lines(log)] == [None, "failed"]
