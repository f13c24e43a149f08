"""How far every machine of a batch is, put together from the logs of its run and of the verification behind it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import ValidationError

from boxwright.board.run_files import Follower, Run, Runs, is_written
from boxwright.console.run_state import HostProgress, HostState, RunProgress
from boxwright.console.text import counted, duration
from boxwright.engines.events import Event
from boxwright.errors import BoxwrightError

Verdict = Literal["waiting", "at work", "provisioned", "verified", "FAILED", "refused", "stopped"]
State = Literal["running", "ended", "killed"]

_BYTES = re.compile(r"[0-9.]+ of [0-9.]+ GB \([0-9]+ %\)")
_SPEED = re.compile(r"[0-9.]+ MB/s")
_LEFT = re.compile(r"([^,]+) left$")
_PROVISIONING = ("provision", "switch")


@dataclass(frozen=True)
class Row:
    """One machine on the board."""

    host: str
    serial: str
    address: str
    stage: str  # with its number, such as "3/9 kernel"
    activity: str
    bytes: str
    eta: str
    seconds: str
    verdict: Verdict
    why: str = ""  # it failed, or was refused


@dataclass(frozen=True)
class Picture:
    """The whole board at one time."""

    site: str
    profile: str
    run: str
    by: str
    state: State
    at: str
    rows: tuple[Row, ...]

    @property
    def census(self) -> str:
        """How many machines are how far, in words."""
        counts = Counter(row.verdict for row in self.rows)
        return ", ".join([counted(len(self.rows), "machine"), *(f"{count} {what}" for what, count in counts.items())])


class Board:
    """Follows the newest run that provisions machines of a site.

    Args:
        root: The folder of runs.
        site: Whose.
    """

    def __init__(self, root: Path, site: str) -> None:
        self._runs = Runs(root, site)
        self._site = site
        self._batch: _Batch | None = None

    def look(self) -> Picture | None:
        """How far it is now; None while there is no such run."""
        runs = self._runs.newest_first()
        newest = next((run for run in runs if run.verb in _PROVISIONING), None)
        if newest is None:
            return None
        if self._batch is None or self._batch.run.id != newest.id:
            self._batch = _Batch(newest)
        later = [run for run in runs if run.verb == "verify" and run.began >= newest.began]
        return self._batch.picture(self._site, later[0] if later else None)


class _Batch:
    """What is known of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._log = Follower(run.path)
        self._progress = RunProgress([host["name"] for host in run.hosts], run.stages)
        self._refused: dict[str, str] = {}
        self._received: dict[str, str] = {}
        self._entered: dict[str, float] = {}  # when each machine came to the stage that it is in
        self._ended = ""
        self._now = 0.0
        self._verification: _Verification | None = None

    def picture(self, site: str, verification: Run | None) -> Picture:
        alive = is_written(self.run.path)  # asked first: its last lines are then in what is read below
        for line in self._log.more():
            self._take(line)
        if verification and (self._verification is None or self._verification.run.id != verification.id):
            self._verification = _Verification(verification)
        if self._verification:
            self._verification.look()
        state: State = "ended" if self._ended else "running" if alive else "killed"
        if self._verification and self._verification.alive:
            state = "running"
        now = datetime.now(UTC).timestamp() if state == "running" and not self._ended else self._now
        rows = [self._row(host, state, now) for host in self.run.hosts]
        rows += [self._refused_row(name, why) for name, why in self._refused.items()]
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return Picture(site, self.run.profile, self.run.id, self.run.by, state, at, tuple(rows))

    def _take(self, line: Mapping[str, Any]) -> None:
        try:
            self._now = datetime.fromisoformat(str(line["at"])).timestamp()
            match line["kind"]:
                case "event":
                    fields = {name: line[name] for name in Event.model_fields if name in line}
                    self._event(Event.model_validate(fields))
                case "stage":
                    self._entered[line["host"]] = self._now
                    self._progress.stage(line["host"], line["stage"], line["state"], line["seconds"], self._now)
                case "failure":
                    self._progress.fail(line["host"], line["stage"], BoxwrightError(line["message"]), self._now)
                case "refused":
                    self._refused[line["host"]] = line["message"]
                case "end":
                    self._ended = line["ended"]
                    self._progress.close(self._now, interrupted=self._ended == "interrupted")
                case _:
                    pass
        except (KeyError, TypeError, ValueError, ValidationError):  # of another release: what it says is not shown
            return

    def _event(self, event: Event) -> None:
        self._progress.event(event, self._now)
        if found := _BYTES.search(event.message):
            self._received[event.host] = found[0]

    def _row(self, about: Mapping[str, str], state: State, now: float) -> Row:
        host = self._progress.hosts[about["name"]]
        verdict, why = self._verdict(host, state)
        at_work = verdict == "at work" and bool(host.stage)
        number = f"{min(host.stages_ended + 1, len(host.stages))}/{len(host.stages)} " if at_work else ""
        speed = _SPEED.search(host.detail)
        return Row(
            host=host.name,
            serial=about.get("serial", ""),
            address=about.get("address", ""),
            stage=f"{number}{host.stage}" if host.state is not HostState.DONE else "",
            activity=host.resource if at_work else "",
            bytes=", ".join(filter(None, [self._received.get(host.name, ""), speed[0] if speed and at_work else ""])),
            eta=self._eta(host, now) if at_work else "",
            seconds=duration(host.seconds(now)) if host.began is not None else "",
            verdict=verdict,
            why=why,
        )

    @staticmethod
    def _refused_row(name: str, why: str) -> Row:
        return Row(name, "", "", "", "", "", "", "", "refused", why)

    def _verdict(self, host: HostProgress, state: State) -> tuple[Verdict, str]:
        if host.state is HostState.FAILED:
            last = host.failures[-1]
            return "FAILED", ": ".join(filter(None, [last.resource, last.message]))
        if host.state is HostState.DONE:
            return self._verification.verdict(host.name) if self._verification else ("provisioned", "")
        if host.state is HostState.STOPPED or state == "killed":
            return "stopped", "The run was stopped. The same command goes on from here; what is done stays done."
        return ("waiting", "") if host.state is HostState.WAITING else ("at work", "")

    def _eta(self, host: HostProgress, now: float) -> str:
        """How long it still takes, by the machines of this run that are through with what is left; else nothing."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for other in self._progress.hosts.values():
            for name, stage in other.stages.items():
                if stage.state in ("ok", "changed"):
                    seconds[name].append(stage.seconds)
        left = [name for name, stage in host.stages.items() if not stage.ended]
        if not all(seconds[name] for name in left):
            told = _LEFT.search(host.detail)
            return f"{told[1].strip()} for this step" if told else ""
        in_stage = now - self._entered.get(host.name, now)
        return duration(max(0.0, sum(median(seconds[name]) for name in left) - in_stage))


class _Verification:
    """The acceptance suite behind a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.alive = True
        self._log = Follower(run.path)
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._failed: dict[str, str] = {}
        self._ended = False

    def look(self) -> None:
        self.alive = is_written(self.run.path)
        for line in self._log.more():
            if line.get("kind") == "check":
                host, outcome = str(line.get("host")), str(line.get("outcome"))
                self._outcomes[host][outcome] += 1
                if outcome == "fail":
                    self._failed[host] = f"{line.get('id')}: {line.get('title')}"
            self._ended = self._ended or line.get("kind") == "end"

    def verdict(self, host: str) -> tuple[Verdict, str]:
        counts = self._outcomes[host]
        if counts["fail"]:
            return "FAILED", f"{counted(counts['fail'], 'check')} failed, such as {self._failed[host]}"
        if not self._ended:
            return "provisioned", "being verified" if self.alive else "its verification was stopped"
        if not counts["pass"]:
            return "provisioned", "not among those that were verified last"
        told = ", ".join(f"{counts[what]} {what}" for what in ("waived", "unproven") if counts[what])
        return "verified", f"{counted(counts['pass'], 'check')} passed{f', {told}' if told else ''}"
