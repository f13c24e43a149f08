"""A run over hosts of which none lets it in: each says why, the log keeps it, and no secret is in it."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from targets import PASSWORD, target

from boxwright import places
from boxwright.console import Console
from boxwright.errors import EngineError, Exit, LockedError, UnreachableError
from boxwright.planning.stages import stages_of
from boxwright.provisioning.outcome import HostOutcome, exit_code
from boxwright.provisioning.run import execute, redactor, whole_boxes
from boxwright.reporting.run_log import RunLog

HOLDER = '{"who": "ada@desk", "since": "2026-01-02T03:04:05Z", "doing": "provision"}'
SSH = f"""
case "${{@: -2:1}}" in
busy*) echo '{HOLDER}'; exit 75 ;;
*) echo 'Permission denied for {PASSWORD}' >&2; exit 255 ;;
esac
"""


def run(*hosts: str, profile: str = "lab") -> tuple[list[HostOutcome], list[dict[str, str]]]:
    whole = target(*hosts, profile=profile)
    stages = stages_of(whole.fleet)
    console = Console(json=True, stdout=io.StringIO())
    with RunLog("provision", redactor(whole)) as log, console.run("t", hosts, [one.name for one in stages]) as view:
        outcomes = execute(whole, stages, dry_run=False, log=log, view=view, verb="provision")
    return outcomes, [json.loads(line) for line in log.path.read_text().splitlines()]


@pytest.mark.usefixtures("own_places")
def test_every_host_has_its_own_reason_in_the_order_of_the_site(stand_in: Callable[[str, str], None]) -> None:
    stand_in("ssh", SSH)
    outcomes, lines = run("gone-1", "busy-1", "gone-2")
    assert [outcome.host for outcome in outcomes] == ["gone-1", "busy-1", "gone-2"]
    assert [type(outcome.error) for outcome in outcomes] == [UnreachableError, LockedError, UnreachableError]
    assert exit_code(outcomes) is Exit.ERROR
    failures = {line["host"]: line for line in lines if line["kind"] == "failure"}
    assert failures.keys() == {"gone-1", "busy-1", "gone-2"}
    assert failures["busy-1"]["message"].startswith("ada@desk has been at work on this box since")
    assert failures["gone-1"]["output"].strip() == "Permission denied for [REDACTED]"
    assert PASSWORD not in json.dumps(lines)


@pytest.mark.usefixtures("own_places")
def test_a_box_that_somebody_else_works_on_is_locked(stand_in: Callable[[str, str], None]) -> None:
    stand_in("ssh", SSH)
    assert exit_code(run("busy-1", "busy-2")[0]) is Exit.LOCKED


def test_a_run_that_somebody_interrupts_failed_on_no_host(
    stand_in: Callable[[str, str], None], own_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts at work by the real engine, whose ssh hangs; no socket could be made where temporary files are."""
    stand_in("ssh", 'case "${!#}" in *deploy.lock*) echo held; cat >/dev/null ;; *) sleep 60 ;; esac')
    temporary = tmp_path / ("t" * 100)
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    threading.Thread(target=_interrupt_when_at_work, args=(own_places / "runs", {"slow-1", "slow-2"})).start()
    with pytest.raises(KeyboardInterrupt):
        run("slow-1", "slow-2")
    (log,) = (own_places / "runs").glob("*/events.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert _at_work(lines) == {"slow-1", "slow-2"}
    assert not [line for line in lines if line["kind"] == "failure" or line.get("state") == "failed"]
    assert lines[-1]["ended"] == "interrupted"
    assert not list(places.sockets().iterdir())


def _interrupt_when_at_work(runs: Path, hosts: set[str]) -> None:
    late = time.monotonic() + 60
    while time.monotonic() < late:
        written = "".join(log.read_text() for log in runs.glob("*/events.jsonl")).splitlines(keepends=True)
        if _at_work([json.loads(line) for line in written if line.endswith("\n")]) >= hosts:
            break
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)


def _at_work(lines: list[dict[str, str]]) -> set[str]:
    return {line["host"] for line in lines if line["kind"] in ("event", "stage")}


def test_private_inputs_are_gone_after_a_run_and_those_of_a_killed_one_are_removed(
    stand_in: Callable[[str, str], None], own_places: Path
) -> None:
    stand_in("ssh", SSH)
    left, temporary = places.runtime() / "run-999999999-killed", places.sockets() / "run-999999999-killed-socket"
    left.mkdir()
    temporary.mkdir()
    (left / "inventory.json").write_text("a secret")
    run("gone")
    assert not list(places.runtime().glob("run-*"))
    assert not list(places.sockets().glob("run-*"))


@pytest.mark.usefixtures("own_places")
def test_when_a_node_fails_the_other_one_of_its_box_is_stopped(stand_in: Callable[[str, str], None]) -> None:
    # The head gets its lock some seconds after the other node was lost, and must not begin any more.
    ssh = 'case "${@: -2:1}" in *.1) sleep 3; echo held; cat >/dev/null ;; *) echo gone >&2; exit 255 ;; esac'
    stand_in("ssh", ssh)
    outcomes, lines = run("a-1", "a-2", profile="2x8xh20")
    assert [type(outcome.error) for outcome in outcomes] == [EngineError, UnreachableError]
    assert "another node of its box failed" in str(outcomes[0].error)
    assert not [line for line in lines if line["kind"] == "event"]


@pytest.mark.usefixtures("own_places")
def test_a_node_begins_nothing_before_every_node_of_its_box_is_locked_for_this_run(
    stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxwright.provisioning.run.AT_ONCE", 1)  # however few are under way: a box is, as a whole
    ssh = f"case \"${{@: -2:1}}\" in *.1) echo held; cat >/dev/null ;; *) sleep 6; echo '{HOLDER}'; exit 75 ;; esac"
    stand_in("ssh", ssh)
    outcomes, lines = run("a-1", "a-2", profile="2x8xh20")
    assert [type(outcome.error) for outcome in outcomes] == [EngineError, LockedError]
    assert not [line for line in lines if line["kind"] in ("event", "stage")]


def test_a_node_that_was_finished_is_not_when_another_of_its_box_is_not() -> None:
    whole = target("a-1", "a-2", "b-1", "b-2", profile="2x8xh20")
    outcomes = [HostOutcome(host.name) for host in whole.fleet.hosts]
    outcomes[1].error = UnreachableError("it is gone", where="a-2")
    told = whole_boxes(whole, outcomes)
    assert [one.finished for one in told] == [False, False, True, True]
    assert "together with a-2" in str(told[0].error)
