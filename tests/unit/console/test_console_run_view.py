from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from boxwright.console.run_lines import live_lines
from boxwright.console.run_state import HostState, RunProgress
from boxwright.console.run_view import RunView
from boxwright.console.symbols import UNICODE
from boxwright.engines.events import Event, Outcome, Phase
from boxwright.errors import LockedError, UnreachableError

Record = Callable[..., Any]
STAGES = ["base", "firewall", "models"]


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def started(host: str, stage: str, resource: str, message: str = "") -> Event:
    return Event(host=host, stage=stage, resource=resource, phase=Phase.STARTED, message=message)


def finished(host: str, stage: str, resource: str, outcome: Outcome, *, message: str = "", output: str = "") -> Event:
    return Event(
        host=host,
        stage=stage,
        resource=resource,
        phase=Phase.FINISHED,
        outcome=outcome,
        message=message,
        output=output,
    )


def do_stage(view: RunView, host: str, stage: str) -> None:
    view.stage(host, stage, "running", 0)
    view.event(started(host, stage, "First"))
    view.event(finished(host, stage, "First", Outcome.OK))
    view.event(finished(host, stage, "Second", Outcome.CHANGED))
    view.stage(host, stage, "changed", 12.3)


def break_firewall(view: RunView, host: str) -> None:
    view.stage(host, "firewall", "running", 0)
    output = "".join(f"\x1b[31mline {i}\x1b[0m\n" for i in range(20))
    view.event(
        finished(
            host,
            "firewall",
            "Rules are [committed]",
            Outcome.FAILED,
            message="ssh did not answer.",
            output=output,
        )
    )
    view.stage(host, "firewall", "failed", 3)


def test_what_a_program_of_ours_said_last_is_the_reason_where_there_is_no_other(record: Record) -> None:
    seen = record()
    with seen.console.run("Switch lab", ["lab-1"], STAGES) as view:
        view.stage("lab-1", "base", "running", 0)
        output = "failed to load model\nserve-unit: the old one serves again."
        view.event(finished("lab-1", "base", "Serve", Outcome.FAILED, output=output))
        view.stage("lab-1", "base", "failed", 3)
    assert "error: the old one serves again." in seen.err
    assert "lab-1  base      failed: Serve: the old one serves again." in seen.out


def test_the_plain_log_has_a_line_for_each_stage_and_failure(record: Record) -> None:
    seen = record()
    with seen.console.run("Provision lab", ["lab-1", "lab-20"], STAGES, log="run.jsonl") as view:
        do_stage(view, "lab-1", "base")
        do_stage(view, "lab-20", "base")
        break_firewall(view, "lab-20")
        view.note("lab-1", "waits for\nanother run")
    assert seen.out.splitlines() == [
        "Provision lab",
        "lab-1   base      changed after 12 s, 1 changed",
        "lab-20  base      changed after 12 s, 1 changed",
        "lab-20  firewall  failed: Rules are [committed]: ssh did not answer.",
        "lab-20  firewall  failed after 3.0 s",
        "lab-1   waits for another run",
    ]
    assert "where: lab-20 / firewall / Rules are [committed]" in seen.err
    assert "last 10 of 20 lines" in seen.err
    assert "    line 19\n" in seen.err
    assert "The full log: run.jsonl" in seen.err


def test_the_same_failure_of_several_hosts_is_told_once(record: Record) -> None:
    seen = record()
    with seen.console.run("Run", ["a", "b", "c"], STAGES) as view:
        for host in ("a", "b"):
            break_firewall(view, host)
        view.fail("c", "base", UnreachableError("No answer on 10.0.0.3:22 within 10 s."))
    assert seen.err.count("error:") == 2
    assert "where: a, b / firewall" in seen.err
    assert "Check that c is up and answers ssh" in seen.err


def test_what_stopped_many_hosts_outside_their_resources_is_told_once(record: Record) -> None:
    seen = record()
    with seen.console.run("Run", ["a", "b", "c"], STAGES) as view:
        for host in ("a", "b", "c"):
            view.fail(host, "base", LockedError("ada has been at work on this box", where=host, hint="Wait."))
    assert seen.err.count("error:") == 1
    assert "where: a, b, c / base\n" in seen.err


def test_a_stage_that_fails_in_silence_is_still_a_failure(record: Record) -> None:
    seen = record()
    with seen.console.run("Run", ["a"], STAGES) as view:
        view.stage("a", "base", "failed", 1)
    assert "error: The stage failed and did not say why." in seen.err


def test_a_silent_host_gets_a_heartbeat(record: Record) -> None:
    seen = record()
    with RunView(seen.console, "Run", ["a", "idle"], ["models"], heartbeat=0.04) as view:
        view.event(started("a", "models", "Fetch weights", "41 of 93 MB"))
        deadline = time.monotonic() + 5
        while "busy" not in seen.out and time.monotonic() < deadline:
            time.sleep(0.01)
    assert re.search(r"^a     models  busy for .*: Fetch weights \(41 of 93 MB\), for ", seen.out, re.MULTILINE)
    assert "idle  " not in seen.out


def test_json_has_every_event_and_a_summary(record: Record) -> None:
    seen = record(json=True)
    with seen.console.run("Run", ["a"], ["base"]) as view:
        do_stage(view, "a", "base")
    view.summary()
    kinds = [each["type"] for each in seen.objects]
    assert kinds == ["run", "stage", "event", "event", "event", "stage", "summary"]
    summary = seen.objects[-1]
    assert summary["state"] == "done"
    assert summary["changed"] == 1
    assert summary["stages"] == {"base": {"state": "changed", "seconds": 12.3, "changed": 1}}
    assert seen.err == ""


def test_threads_may_feed_one_live_view(record: Record) -> None:
    seen = record(terminal=True, width=120)
    hosts = [f"h{i}" for i in range(16)]
    with seen.console.run("Run", hosts, STAGES) as view:

        def work(host: str) -> None:
            for stage in STAGES:
                do_stage(view, host, stage)
                view.note(host, "note")

        workers = [threading.Thread(target=work, args=(host,)) for host in hosts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=20)
        assert not any(worker.is_alive() for worker in workers)
    last_frame = without_colour(seen.out).splitlines()[-16:]
    assert all(f"{host} " in line for host, line in zip(hosts, last_frame, strict=True))
    assert all("done in" in line and "3 ok 3 changed" in line for line in last_frame)
    assert seen.out.endswith("\x1b[?25h")  # the cursor is back


def test_a_live_view_gives_the_terminal_back_when_interrupted(record: Record) -> None:
    seen = record(terminal=True, width=100)

    def interrupted_run() -> None:
        with seen.console.run("Run", ["a", "b"], STAGES) as view:
            view.stage("a", "base", "running", 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert "stopped in base" in seen.out
    assert "\x1b[?25h" in seen.out
    seen.console.error(UnreachableError("after"))
    assert "after" in seen.err


def test_an_error_during_a_live_view_goes_where_the_lines_are(record: Record) -> None:
    seen = record(terminal=True, width=100)
    with seen.console.run("Run", ["a"], STAGES):
        seen.console.error(UnreachableError("in between"))
    assert "in between" in seen.out
    assert seen.err == ""


def rendered(record: Record, progress: RunProgress, now: float, width: int, height: int = 20) -> list[str]:
    seen = record(width=width)
    seen.console.show(live_lines(progress, now, UNICODE, height))
    return seen.out.splitlines()


def test_a_serial_number_stands_beside_the_name(record: Record) -> None:
    seen = record(width=100)
    with seen.console.run("Run", ["line-1", "line-2"], STAGES, serials={"line-2": "SN-0042"}) as view:
        seen.console.show(view._draw())
    first, second = seen.out.splitlines()[-2:]
    assert "line-2 SN-0042" in second
    assert "SN" not in first


@pytest.mark.parametrize("width", [40, 80, 140])
def test_a_host_has_one_line_that_fits(record: Record, width: int) -> None:
    progress = RunProgress(["lab-1"], STAGES)
    progress.stage("lab-1", "models", "running", 0, now=0)
    progress.event(started("lab-1", "models", "Fetch 团队 " * 50, "41 of 93 MB, 3 s left"), now=1)
    (line,) = rendered(record, progress, 83, width)
    assert line.rstrip().endswith("1:23")
    assert "lab-1" in line


def test_progress_of_a_resource_is_shown(record: Record) -> None:
    progress = RunProgress(["lab-1"], STAGES)
    progress.stage("lab-1", "base", "ok", 1, now=0)
    progress.event(started("lab-1", "models", "Fetch weights", "41 of 93 MB, 3 s left"), now=1)
    (line,) = rendered(record, progress, 3, 100)
    assert "2/3 models  Fetch weights  41 of 93 MB, 3 s left" in line


def test_finished_hosts_give_way_where_not_all_fit(record: Record) -> None:
    progress = RunProgress([f"h{i:02d}" for i in range(30)], ["base"])
    for i in range(10):
        progress.stage(f"h{i:02d}", "base", "ok", 1, now=1)
    progress.stage("h20", "base", "failed", 1, now=1)
    progress.stage("h25", "base", "running", 0, now=1)
    lines = rendered(record, progress, 2, 80, height=10)
    assert len(lines) == 10
    assert "h20 failed" in lines[0]
    assert "h25" in lines[1]
    assert "and 21 more hosts: 11 waiting, 10 done" in lines[-1]


def test_a_failed_host_stays_failed() -> None:
    progress = RunProgress(["a"], ["base", "models"])
    progress.event(finished("a", "base", "R", Outcome.UNREACHABLE), now=1)
    progress.stage("a", "base", "ok", 1, now=2)
    progress.stage("a", "models", "ok", 1, now=3)
    assert progress.hosts["a"].state is HostState.FAILED


def test_events_of_finer_stages_count_for_the_stage_that_runs() -> None:
    progress = RunProgress(["a"], ["platform"])
    progress.stage("a", "platform", "running", 0, now=0)
    progress.event(finished("a", "kernel", "R", Outcome.CHANGED), now=1)
    assert list(progress.hosts["a"].stages) == ["platform"]
    assert progress.hosts["a"].stages["platform"].changed == 1


@pytest.mark.parametrize("width", [80, 140])
def test_the_summary_of_many_hosts_and_stages_fits(record: Record, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stages = ["base", "kernel", "firewall", "gateway", "monitoring", "models", "llama_cpp", "open_webui"]
    seen = record(terminal=True, width=width)
    view = RunView(seen.console, "Run", ["lab-1", "lab-2"], stages)
    for host in ("lab-1", "lab-2"):
        for stage in stages:
            do_stage(view, host, stage)
    view.summary()
    lines = without_colour(seen.out).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.count("12 s (1)") for line in lines) == 16
    assert all(any(stage in line for line in lines) for stage in stages)
