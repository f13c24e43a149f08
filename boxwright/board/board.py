"""How far every machine of a batch is, put together from the logs of its runs and of the verifications behind them.

A batch is seldom one run: a box that was refused is run again by itself, and another operator has others at the same
time. So each machine is shown as the run has it that had the last word about it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
_STATES: tuple[State, ...] = ("running", "killed", "ended")  # of several runs, what counts for all

_BYTES = re.compile(r"[0-9.]+ of [0-9.]+ GB \([0-9]+ %\)")
_SPEED = re.compile(r"[0-9.]+ MB/s")
_LEFT = re.compile(r"([^,]+) left$")
_PROVISIONING = ("provision", "switch")
_MOST_RUNS = 30  # that are looked into


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
    run: str = ""  # that had the last word about it
    state: State = "ended"  # of that run


@dataclass(frozen=True)
class Picture:
    """The whole board at one time."""

    site: str
    profile: str
    run: str  # the newest of them
    by: str
    state: State
    at: str
    rows: tuple[Row, ...]

    @property
    def told_by(self) -> str:
        """Which runs it is of."""
        more = len({row.run for row in self.rows} - {self.run})
        return f"run {self.run}{f' and {more} before it' if more else ''}"

    @property
    def census(self) -> str:
        """How many machines are how far, in words."""
        counts = Counter(row.verdict for row in self.rows)
        return ", ".join([counted(len(self.rows), "machine"), *(f"{count} {what}" for what, count in counts.items())])


class Board:
    """Follows the runs that provision machines of a site.

    Args:
        root: The folder of runs.
        site: Whose.
        serials: The site's machines as it names them now, with their serial numbers. What runs before the newest say
            of others is not shown: they belong to a batch of the past. None: nobody knows.
    """

    def __init__(self, root: Path, site: str, serials: Mapping[str, str] | None = None) -> None:
        self._runs = Runs(root, site)
        self._site = site
        self._serials = serials
        self._batches: dict[str, _Batch] = {}
        self._verifications: dict[str, _Verification] = {}

    def look(self) -> Picture | None:
        """How far it is now; None while there is no such run."""
        runs = self._runs.newest_first()
        own = [run for run in runs if run.verb in _PROVISIONING][:_MOST_RUNS]
        if not own:
            return None
        checked = [run for run in runs if run.verb == "verify" and run.began >= own[-1].began]
        verifications = [self._verifications.setdefault(run.id, _Verification(run)) for run in checked]
        for one in verifications:
            one.look()
        words = [word for run in own for word in self._words(run, verifications, newest=run is own[0])]
        rows: dict[str, _Word] = {}
        for word in words:  # of the newest run first, which wins within a second
            if word.row.host not in rows or word.at > rows[word.row.host].at:
                rows[word.row.host] = word
        # As the newest run has them, and the others behind.
        return self._picture(own, [rows[host] for host in dict.fromkeys(word.row.host for word in words)])

    def _words(self, run: Run, verifications: Sequence[_Verification], *, newest: bool) -> list[_Word]:
        batch = self._batches.setdefault(run.id, _Batch(run))
        return [
            word
            for word in batch.words([one for one in verifications if one.run.began >= run.began])
            if newest or self._serials is None or self._serials.get(word.row.host) == word.row.serial
        ]

    def _picture(self, runs: Sequence[Run], words: Sequence[_Word]) -> Picture:
        rows = tuple(word.row for word in words)
        states = {row.state for row in rows if row.verdict == "stopped" or row.state != "killed"}
        state: State = next((one for one in _STATES if one in states), "ended")
        profiles = dict.fromkeys(word.profile for word in words)
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return Picture(self._site, ", ".join(profiles), runs[0].id, runs[0].by, state, at, rows)


@dataclass(frozen=True)
class _Word:
    """What a run says of a machine, and when it said so last."""

    row: Row
    at: float
    profile: str


class _Batch:
    """What is known of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._log = Follower(run.path)
        self._progress = RunProgress([host["name"] for host in run.hosts], run.stages)
        self._refused: dict[str, tuple[dict[str, str], float]] = {}
        self._received: dict[str, str] = {}
        self._entered: dict[str, float] = {}  # when each machine came to the stage that it is in
        self._spoke: dict[str, float] = {}
        self._ended = ""
        self._began = self._now = 0.0

    def words(self, verifications: Sequence[_Verification]) -> list[_Word]:
        """What it says of each of its machines.

        Args:
            verifications: Those behind it, the newest first.
        """
        alive = is_written(self.run.path)  # asked first: its last lines are then in what is read below
        for line in self._log.more():
            self._take(line)
        ended: State = "ended" if self._ended else "running" if alive else "killed"
        now = datetime.now(UTC).timestamp() if ended == "running" else self._now
        words = []
        for about in self.run.hosts:
            name = about["name"]
            behind = next((one for one in verifications if one.knows(name)), None)
            state: State = "running" if behind and behind.alive else ended
            row = replace(self._row(about, ended, now, behind), run=self.run.id, state=state)
            waits = self._began if ended == "running" else 0.0
            words.append(_Word(row, self._spoke.get(name, waits), self.run.profile))
        for about, at in self._refused.values():
            words.append(_Word(self._refused_row(about, ended), at, self.run.profile))
        return words

    def _take(self, line: Mapping[str, Any]) -> None:
        try:
            self._now = datetime.fromisoformat(str(line["at"])).timestamp()
            self._began = self._began or self._now
            match line["kind"]:
                case "event":
                    self._spoke[line["host"]] = self._now
                    fields = {name: line[name] for name in Event.model_fields if name in line}
                    self._event(Event.model_validate(fields))
                case "stage":
                    self._spoke[line["host"]] = self._now
                    self._entered[line["host"]] = self._now
                    self._progress.stage(line["host"], line["stage"], line["state"], line["seconds"], self._now)
                case "failure":
                    self._spoke[line["host"]] = self._now
                    self._progress.fail(line["host"], line["stage"], BoxwrightError(line["message"]), self._now)
                case "refused":
                    about = {key: str(line.get(key) or "") for key in ("serial", "address")}
                    about |= {"name": line["host"], "why": line["message"]}
                    self._refused[line["host"]] = about, self._now
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

    def _row(self, about: Mapping[str, str], state: State, now: float, behind: _Verification | None) -> Row:
        host = self._progress.hosts[about["name"]]
        verdict, why = self._verdict(host, state, behind)
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

    def _refused_row(self, about: Mapping[str, str], state: State) -> Row:
        return Row(
            host=about["name"],
            serial=about["serial"],
            address=about["address"],
            stage="",
            activity="",
            bytes="",
            eta="",
            seconds="",
            verdict="refused",
            why=about["why"],
            run=self.run.id,
            state=state,
        )

    @staticmethod
    def _verdict(host: HostProgress, state: State, behind: _Verification | None) -> tuple[Verdict, str]:
        if host.state is HostState.FAILED:
            last = host.failures[-1]
            return "FAILED", ": ".join(filter(None, [last.resource, last.message]))
        if host.state is HostState.DONE:
            return behind.verdict(host.name) if behind else ("provisioned", "")
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

    def knows(self, host: str) -> bool:
        """Whether it looks at a machine."""
        return any(one["name"] == host for one in self.run.hosts)

    def look(self) -> None:
        """Read on."""
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
            return "provisioned", "no check passed"
        told = ", ".join(f"{counts[what]} {what}" for what in ("waived", "unproven") if counts[what])
        return "verified", f"{counted(counts['pass'], 'check')} passed{f', {told}' if told else ''}"
