"""A run over all hosts of a target, with its log."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from boxwright import places
from boxwright.console import RunView
from boxwright.engines.events import Event
from boxwright.engines.process import Cancellation
from boxwright.errors import BoxwrightError
from boxwright.model.site import Host
from boxwright.planning.stages import Stage, stages_for
from boxwright.provisioning.box import Box
from boxwright.provisioning.contract import half_a_box
from boxwright.provisioning.host_run import HostRun, Work
from boxwright.provisioning.outcome import HostOutcome, StageState
from boxwright.provisioning.receipt import Run, write_receipt
from boxwright.provisioning.source import revision
from boxwright.provisioning.target import Target
from boxwright.redaction import Redactor
from boxwright.reporting.run_log import RunLog, now, operator
from boxwright.transport.lock import Holder

AT_ONCE = 8  # hosts under way at the same time: each costs the controller two processes


def redactor(target: Target) -> Redactor:
    """Knows every secret of a target."""
    return Redactor([{"known_secret": [value for own in target.secrets.values() for value in own.values()]}])


def log_fields(target: Target, stages: Sequence[str] = ()) -> dict[str, Any]:
    """What a run is about, as a line of its log: the board reads it."""
    hosts = [
        {"name": host.name, "address": host.address or "", "serial": host.serial or ""} for host in target.fleet.hosts
    ]
    fleet = target.fleet
    used = {"bundle": target.used.model_dump(mode="json")} if target.used else {}
    return {"site": fleet.site.name, "profile": fleet.profile.name, "stages": list(stages), "hosts": hosts, **used}


def execute(
    target: Target,
    stages: tuple[Stage, ...],
    *,
    dry_run: bool,
    log: RunLog,
    view: RunView,
    verb: str,
    afterwards: Callable[[Host], None] | None = None,
    evidence: Callable[[Host], None] | None = None,
) -> list[HostOutcome]:
    """Take every host of the target through these stages.

    A host that fails stops alone, but for the other nodes of its box: half a box serves nobody. Ctrl-C ends the
    engines' processes and is raised again when they are gone.

    Args:
        target: The hosts, and what they are given.
        stages: In their order.
        dry_run: Only say what would change.
        log: Written to as things happen.
        view: Shown as they happen.
        verb: What the run is called.
        afterwards: Done to each host that went through all stages, under its lock; by default its receipt is written.
        evidence: Done behind the receipt: what a box is left with besides.

    Returns:
        One outcome a host, in the order of the site.
    """

    this = Run(log.id, now(), "" if dry_run else revision(), target.used)

    def receipt(host: Host) -> None:
        own = stages_for(target.fleet, host, stages)
        write_receipt(target.endpoint(host), target.fleet, host, [stage.name for stage in own], this)
        if evidence:
            evidence(host)

    cancellation = Cancellation()
    with _private_directory() as directory:
        work = Work(
            target=_handing_on(target, None if dry_run else directory / "handed-on"),
            stages=stages,
            dry_run=dry_run,
            holder=Holder(operator(), now(), f"{verb} --profile {target.fleet.profile.name}"),
            directory=directory,
            watcher=_Watcher(view, log, redactor(target)),
            cancellation=cancellation,
            afterwards=afterwards or receipt,
        )
        # Those of one box wait for each other, so all of them have to be under way.
        pool = ThreadPoolExecutor(max_workers=max(AT_ONCE, target.fleet.profile.nodes), thread_name_prefix="host")
        runs = [pool.submit(HostRun(work, host, box).run) for host, box in _boxes(target, cancellation)]
        try:
            return whole_boxes(target, [run.result() for run in runs])
        except BaseException:
            cancellation.cancel()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _boxes(target: Target, cancellation: Cancellation) -> Iterator[tuple[Host, Box]]:
    """Every host of the target, those of a box one after the other, with its box."""
    fleet, boxes = target.fleet, dict[str, Box]()
    for host in fleet.hosts:
        head = fleet.head_of(host).name
        if head not in boxes:
            under_way = {one.name for one in fleet.box_of(host)} - fleet.left_out
            boxes[head] = Box(cancellation.part(), under_way)
        yield host, boxes[head]


def _handing_on(target: Target, folder: Path | None) -> Target:
    """The target, whose boxes find in this folder what they may hand on to each other; None: they hand on nothing."""
    if not target.hand_on or not folder:
        return replace(target, hand_on=None)
    return replace(target, hand_on=target.hand_on.model_copy(update={"folder": str(folder)}))


def whole_boxes(target: Target, outcomes: list[HostOutcome]) -> list[HostOutcome]:
    """The same outcomes, in which no host is finished of whose box another node is not."""
    unfinished = [one.host for one in outcomes if not one.finished]
    for one in outcomes:
        box = next(target.fleet.box_of(host) for host in target.fleet.hosts if host.name == one.host)
        wrong = [host.name for host in box if host.name in unfinished]
        if one.finished and wrong:
            one.error = half_a_box(one.host, wrong[0])
    return outcomes


class _Watcher:
    """Tells the view and the log, without secrets."""

    def __init__(self, view: RunView, log: RunLog, redact: Redactor) -> None:
        self._view = view
        self._log = log
        self._redact = redact

    def event(self, event: Event) -> None:
        clean = Event.model_validate_json(self._redact(event.model_dump_json()))
        self._log.write("event", clean.model_dump(mode="json"))
        self._view.event(clean)

    def stage(self, host: str, stage: str, state: Literal["running"] | StageState, seconds: float) -> None:
        self._log.write("stage", {"host": host, "stage": stage, "state": state, "seconds": round(seconds, 3)})
        self._view.stage(host, stage, state, seconds)

    def fail(self, host: str, stage: str, error: BoxwrightError) -> None:
        error.message, error.output = self._redact(error.message), self._redact(error.output)
        self._log.write("failure", {"host": host, "stage": stage, "message": error.message, "output": error.output})
        self._view.fail(host, stage, error)

    def noise(self, host: str, line: str) -> None:
        self._log.write("noise", {"host": host, "line": line})

    def waits(self, host: str, others: str) -> None:
        self._log.write("waits", {"host": host, "for": others})
        self._view.note(host, f"waits for {others}")


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """A directory in memory for the engines' inputs; those of runs that were killed are removed first."""
    root = places.runtime()
    for old in (*root.glob("run-*-*"), *places.sockets().glob("run-*-*")):
        pid = old.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(old, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=root))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
