"""The bench board, from logs that are written as runs write them: running, ended, killed, and with rubbish in them."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import signal
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boxwright.board.board import Board, Picture, Row
from boxwright.board.page import page
from boxwright.board.run_files import Follower
from boxwright.board.server import make_server, parse_listen
from boxwright.board.verbs import board as board_verb
from boxwright.console import Console
from boxwright.engines.events import Event, Outcome, Phase
from boxwright.errors import BadInputError, BoxwrightError, Exit
from boxwright.redaction import Redactor
from boxwright.reporting.run_log import RunLog

STAGES = ["base", "models", "llama_cpp"]
HOSTS = [{"name": f"line-{n}", "address": f"192.0.2.{n}", "serial": f"SN-{n}"} for n in (1, 2, 3)]
pytestmark = pytest.mark.usefixtures("own_places")


def a_run(verb: str = "provision", site: str = "line", hosts: Any = HOSTS) -> RunLog:
    log = RunLog(verb, Redactor([]))
    log.write("run", {"site": site, "profile": "lab", "stages": STAGES if verb != "verify" else [], "hosts": hosts})
    return log


def event(
    log: RunLog, host: str, stage: str, resource: str, *, message: str = "", outcome: Outcome | None = None
) -> None:
    phase = Phase.FINISHED if outcome else Phase.STARTED
    told = Event(host=host, stage=stage, resource=resource, phase=phase, message=message, outcome=outcome)
    log.write("event", told.model_dump(mode="json"))


def stage(log: RunLog, host: str, name: str, state: str, seconds: float = 0.0) -> None:
    log.write("stage", {"host": host, "stage": name, "state": state, "seconds": seconds})


def through(log: RunLog, host: str, *names: str) -> None:
    for name in names or STAGES:
        stage(log, host, name, "running")
        stage(log, host, name, "changed", 40.0)


def look(own_places: Path, site: str = "line") -> Picture:
    picture = Board(own_places / "runs", site).look()
    assert picture is not None
    return picture


def row(picture: Picture, host: str) -> Row:
    return next(row for row in picture.rows if row.host == host)


def test_a_running_batch(own_places: Path) -> None:
    log = a_run()
    through(log, "line-1")
    stage(log, "line-2", "base", "running")
    stage(log, "line-2", "base", "ok", 4.0)
    stage(log, "line-2", "models", "running")
    event(log, "line-2", "models", "Weights of smollm2", message="12.5 of 40.0 GB (31 %), 110.3 MB/s, 4 min left")
    picture = look(own_places)
    assert (picture.state, picture.profile) == ("running", "lab")
    assert picture.census == "3 machines, 1 provisioned, 1 at work, 1 waiting"
    busy = row(picture, "line-2")
    assert (busy.serial, busy.address, busy.stage) == ("SN-2", "192.0.2.2", "2/3 models")
    assert busy.activity == "Weights of smollm2"
    assert busy.bytes == "12.5 of 40.0 GB (31 %), 110.3 MB/s"
    assert busy.eta in ("1 min 20 s", "1 min 19 s", "1 min 18 s")  # line-1 took 40 s for each of the two that are left
    log.close("ok")


def test_without_a_machine_that_is_through_only_the_step_is_foretold(own_places: Path) -> None:
    log = a_run()
    stage(log, "line-2", "models", "running")
    assert row(look(own_places), "line-2").eta == ""
    event(log, "line-2", "models", "Weights", message="1.0 of 40.0 GB (2 %), 9.0 MB/s, 4 min left")
    assert row(look(own_places), "line-2").eta == "4 min for this step"
    log.close("ok")


def test_a_failure_a_refusal_and_a_verification(own_places: Path) -> None:
    log = a_run()
    log.write("refused", {"host": "line-9", "message": "this machine is not a lab"})
    through(log, "line-1")
    through(log, "line-2")
    stage(log, "line-3", "base", "running")
    event(log, "line-3", "base", "Install packages", message="No space left", outcome=Outcome.FAILED)
    stage(log, "line-3", "base", "failed", 2.0)
    log.close("failed")
    assert look(own_places).census == "4 machines, 2 provisioned, 1 FAILED, 1 refused"
    assert row(look(own_places), "line-3").why == "Install packages: No space left"

    checks = a_run("verify", hosts=HOSTS[:2])
    checks.write("check", {"host": "line-1", "id": "a", "title": "A", "outcome": "pass"})
    assert row(look(own_places), "line-1").why == "being verified"
    assert look(own_places).state == "running"
    checks.write("check", {"host": "line-1", "id": "b", "title": "B", "outcome": "unproven"})
    checks.write("check", {"host": "line-2", "id": "c", "title": "C holds", "outcome": "fail"})
    checks.close("failed")
    picture = look(own_places)
    assert picture.state == "ended"
    assert (row(picture, "line-1").verdict, row(picture, "line-1").why) == ("verified", "1 check passed, 1 unproven")
    assert (row(picture, "line-2").verdict, row(picture, "line-2").why) == (
        "FAILED",
        "1 check failed, such as c: C holds",
    )
    assert row(picture, "line-9").verdict == "refused"


def _killed_in_the_middle(ready: Any) -> None:
    log = a_run()
    through(log, "line-1")
    stage(log, "line-2", "base", "running")
    log._file.write('{"at": "2026-')  # the power went in the middle of a line
    log._file.flush()
    ready.set()
    signal.pause()


def test_a_killed_run_is_called_so_and_the_next_one_takes_its_place(own_places: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_killed_in_the_middle, args=(ready,))
    process.start()
    assert ready.wait(20)
    board = Board(own_places / "runs", "line")
    before = board.look()
    assert before is not None
    assert before.state == "running"
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    after = board.look()
    assert after is not None
    assert after.state == "killed"
    assert {one.host: one.verdict for one in after.rows} == {
        "line-1": "provisioned",
        "line-2": "stopped",
        "line-3": "stopped",
    }
    (old,) = (own_places / "runs").iterdir()
    old.rename(old.with_name("20000101-000000-aaaaaa"))
    log = a_run()
    through(log, "line-1")
    again = board.look()
    assert again is not None
    assert (again.run, again.state) == (log.id, "running")
    log.close("ok")


def older(log: RunLog, minutes: int) -> None:
    """Let a run be of some minutes ago: by its name, and by what its lines say."""
    folder = log.path.parent
    then = datetime.now(UTC) - timedelta(minutes=minutes)
    text = re.sub(r'"at": "[^"]*"', f'"at": "{then:%Y-%m-%dT%H:%M:%SZ}"', log.path.read_text())
    log.path.write_text(text)
    folder.rename(folder.with_name(f"{then:%Y%m%d-%H%M%S}-{folder.name[-6:]}"))


def test_a_box_that_is_run_again_by_itself_hides_no_other(own_places: Path) -> None:
    batch = a_run()
    batch.write("refused", {"host": "line-9", "message": "no lab", "serial": "SN-9", "address": "192.0.2.9"})
    for name in ("line-1", "line-2"):
        through(batch, name)
    stage(batch, "line-3", "base", "failed", 1.0)
    batch.close("failed")
    checks = a_run("verify", hosts=HOSTS[:2])
    for name in ("line-1", "line-2"):
        checks.write("check", {"host": name, "id": "a", "title": "A", "outcome": "pass"})
    checks.close("ok")
    older(batch, 30)
    older(checks, 20)
    again = a_run(hosts=[HOSTS[2]])
    serials = {"line-1": "SN-1", "line-2": "SN-77", "line-3": "SN-3", "line-9": "SN-9"}
    picture = Board(own_places / "runs", "line", serials).look()
    assert picture is not None
    assert picture.state == "running"
    assert {one.host: one.verdict for one in picture.rows} == {
        "line-3": "waiting",  # and no longer failed
        "line-1": "verified",
        "line-9": "refused",
    }, "line-2 is another machine by now: SN-77"
    assert row(picture, "line-9").serial == "SN-9"
    assert picture.told_by == f"run {again.id} and 1 before it"
    again.close("ok")


def test_an_operator_who_was_turned_away_takes_no_board_from_who_is_at_work(own_places: Path) -> None:
    batch = a_run()
    older(batch, 10)
    turned_away = a_run(hosts=[HOSTS[1]])
    stage(turned_away, "line-2", "base", "running")
    turned_away.write("failure", {"host": "line-2", "stage": "base", "message": "ada is at work", "output": ""})
    turned_away.close("failed")
    older(turned_away, 5)
    for name in ("line-1", "line-2"):
        stage(batch, name, "base", "running")
    picture = look(own_places)
    assert [(one.host, one.verdict) for one in sorted(picture.rows, key=lambda one: one.host)] == [
        ("line-1", "at work"),
        ("line-2", "at work"),
        ("line-3", "waiting"),
    ]
    assert picture.state == "running"
    batch.close("failed")


def test_others_runs_are_not_shown(own_places: Path) -> None:
    a_run(site="other").close("ok")
    a_run("plan").close("ok")
    (own_places / "runs" / "99999999-broken").mkdir()
    (own_places / "runs" / "99999999-broken" / "events.jsonl").write_bytes(b"\xff\x00[]\n{}\n")
    assert Board(own_places / "runs", "line").look() is None
    assert Board(own_places / "none", "line").look() is None


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"kind": "stage"}',
        '{"kind": "stage", "at": "x", "host": 1}',
        '{"kind": "event", "at": "2026-01-01T00:00:00Z", "host": []}',
        '{"kind": "of the future", "at": "2026-01-01T00:00:00Z"}',
        "\\x00",
    ],
)
def test_a_line_that_nobody_understands_is_passed_over(own_places: Path, line: str) -> None:
    log = a_run()
    log._file.write(line + "\n")
    through(log, "line-1")
    assert row(look(own_places), "line-1").verdict == "provisioned"
    log.close("ok")


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"a": 1}\n{"b"')
    follower = Follower(path)
    assert list(follower.more()) == [{"a": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    assert list(follower.more()) == [{"b": 2}]
    assert list(follower.more()) == []


def test_what_a_machine_says_is_no_markup(own_places: Path) -> None:
    log = a_run(hosts=[{"name": "line-1", "address": "x", "serial": "<script>alert(1)</script>"}])
    stage(log, "line-1", "base", "running")
    event(log, "line-1", "base", "<img src=x onerror=alert(1)>")
    text = page("line", look(own_places))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "src=" not in re.sub(r"&lt;.*?&gt;", "", text)
    assert 'http-equiv="refresh"' in text
    assert 'http-equiv="refresh"' not in page("line", look(own_places), live=False)
    log.close("ok")


def test_it_is_served_to_readers_alone(own_places: Path) -> None:
    log = a_run()
    board = Board(own_places / "runs", "line")
    with make_server("127.0.0.1", 0, lambda: page("line", board.look())) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(base, timeout=10) as answer:
            text = answer.read().decode()
        assert "SN-2" in text
        assert "3 waiting" in text
        through(log, "line-1")
        with urllib.request.urlopen(f"{base}/", timeout=10) as answer:  # noqa: S310
            assert "1 provisioned" in answer.read().decode()
        for path, method in (("/../etc/passwd", "GET"), ("/", "POST")):
            request = urllib.request.Request(base + path, method=method)  # noqa: S310
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=10)  # noqa: S310
        with pytest.raises(BoxwrightError, match="cannot listen"):
            make_server("127.0.0.1", int(server.server_address[1]), str)
        server.shutdown()
    log.close("ok")


@pytest.mark.parametrize(
    ("text", "place"),
    [("8700", ("127.0.0.1", 8700)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:8700", ("::1", 8700))],
)
def test_where_it_listens(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize("text", ["", "x", "host:80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "::1:²"])
def test_where_it_cannot_listen(text: str) -> None:
    with pytest.raises(BadInputError, match="--listen"):
        parse_listen(text)


def test_the_verb_shows_a_table_on_the_console(own_places: Path) -> None:
    log = a_run(site="lab")
    log.write("refused", {"host": "line-9", "message": "this machine is not a lab"})
    through(log, "line-1")
    stage(log, "line-2", "base", "running")
    log.close("ok")
    out = io.StringIO()
    assert board_verb(Console(stdout=out), site="lab", listen="8700", html="", table=True) == Exit.OK
    lines = out.getvalue().splitlines()
    assert lines[1].startswith("lab on lab: 4 machines")
    assert lines[2].split() == ["Machine", "Serial", "Stage", "At", "Received", "Left", "Time", "Verdict"]
    assert [line.split()[0] for line in lines[3:]] == ["line-1", "line-2", "line-3", "line-9"]
    assert lines[3].split()[1] == "SN-1"
    assert lines[3].endswith("provisioned")
    assert lines[6].endswith("refused: this machine is not a lab")


def test_the_verb_writes_a_page_or_json_once(own_places: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(BoxwrightError, match="nothing was provisioned"):
        board_verb(Console(json=True, stdout=out), site="lab", listen="8700", html="")
    log = a_run(site="lab")
    through(log, "line-1")
    log.close("ok")
    target = tmp_path / "board.html"
    code = board_verb(Console(json=True, stdout=out), site="lab", listen="8700", html=str(target))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert code == Exit.OK
    shown = next(line for line in lines if line["type"] == "board")
    assert (shown["host"], shown["verdict"]) == ("line-1", "provisioned")
    assert "SN-1" in target.read_text()
