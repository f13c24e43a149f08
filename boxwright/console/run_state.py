"""How far a run has come: its hosts, their stages, their failures. The views draw it; it draws nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from boxwright.console.text import named
from boxwright.engines.events import Event, Outcome, Phase
from boxwright.errors import BoxwrightError, UnreachableError

StageState = Literal["running", "ok", "changed", "failed", "skipped"]


class HostState(StrEnum):
    """Where a host is on its way through a run."""

    WAITING = "waiting"
    BUSY = "busy"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # the run ended before the host did


@dataclass(slots=True)
class StageProgress:
    """One stage of one host."""

    state: StageState | None = None  # None: not begun
    seconds: float = 0.0
    changed: int = 0

    @property
    def ended(self) -> bool:
        """Whether the stage will not go on."""
        return self.state not in (None, "running")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host stopped."""

    host: str
    stage: str
    resource: str
    message: str
    output: str = ""
    hint: str = ""
    unreachable: bool = False


@dataclass(slots=True)
class HostProgress:
    """One host of a run."""

    name: str
    stages: dict[str, StageProgress]
    serial: str = ""  # on its label, where its site says
    stage: str = ""
    resource: str = ""
    detail: str = ""  # how far the resource is, where its engine tells
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    began: float | None = None
    resource_began: float = 0.0
    ended: float | None = None
    spoke: float = 0.0  # when the log last had a line of this host
    state: HostState = HostState.WAITING

    def seconds(self, now: float) -> float:
        """Return how long the host has been, or was, at work."""
        return 0.0 if self.began is None else (self.ended if self.ended is not None else now) - self.began

    @property
    def stages_ended(self) -> int:
        """How many stages are behind the host."""
        return sum(stage.ended for stage in self.stages.values())

    @property
    def failed(self) -> int:
        """How many resources failed."""
        return self.outcomes[Outcome.FAILED] + self.outcomes[Outcome.UNREACHABLE]

    def begin(self, now: float) -> None:
        """Note that the host is at work."""
        if self.began is None:
            self.began = self.spoke = now
            self.state = HostState.BUSY

    def end(self, state: HostState, now: float) -> None:
        """Note how the host ended. The first end counts: a failed host stays failed."""
        if self.ended is None:
            self.ended, self.state = now, state
            self.detail = ""

    def enter(self, resource: str, detail: str, now: float) -> None:
        """Note what the host works on; told again about the same resource, only how far it is."""
        if resource != self.resource:
            self.resource, self.resource_began = resource, now
        self.detail = detail


class RunProgress:
    """How far each host of a run has come.

    Args:
        hosts: The hosts, in the order in which they are shown.
        stages: The stages that every host goes through, in their order.
    """

    def __init__(self, hosts: Sequence[str], stages: Sequence[str]) -> None:
        self.hosts = {host: HostProgress(host, {stage: StageProgress() for stage in stages}) for host in hosts}
        self.stages = list(stages)
        self.closed = False

    def event(self, event: Event, now: float) -> HostProgress:
        """Take in one step of one resource."""
        host = self._host(event.host, now)
        host.stage = stage = self._stage_of(event, host)
        if event.phase is Phase.STARTED:
            host.enter(event.resource, event.message, now)
            return host
        host.enter(event.resource, "", now)
        if event.outcome is not None:
            host.outcomes[event.outcome] += 1
        if event.changed:
            self._stage(host, stage).changed += 1
        if event.failed:
            host.failures.append(
                Failure(
                    host.name,
                    stage,
                    event.resource,
                    event.message.strip() or _last_word(event.output),
                    event.output,
                    unreachable=event.outcome is Outcome.UNREACHABLE,
                )
            )
            host.end(HostState.FAILED, now)
        return host

    def stage(self, name: str, stage: str, state: StageState, seconds: float, now: float) -> HostProgress:
        """Take in that a stage began or ended on a host."""
        host = self._host(name, now)
        progress = self._stage(host, stage)
        progress.state, progress.seconds = state, seconds
        if state == "running":
            host.stage = stage
            host.enter("", "", now)
        elif state == "failed":
            if not host.failures:
                host.failures.append(Failure(name, stage, "", "The stage failed and did not say why."))
            host.end(HostState.FAILED, now)
        elif host.stages_ended == len(host.stages):
            host.end(HostState.DONE, now)
        return host

    def fail(self, name: str, stage: str, error: BoxwrightError, now: float) -> HostProgress:
        """Take in that a host stopped for a reason outside its resources, such as an engine that died."""
        host = self._host(name, now)
        host.stage = stage
        self._stage(host, stage).state = "failed"
        unreachable = isinstance(error, UnreachableError)
        where = "" if error.where == name else error.where  # the host is told anyway, of several with the same error
        host.failures.append(Failure(name, stage, where, error.message, error.output, error.hint, unreachable))
        host.end(HostState.FAILED, now)
        return host

    def close(self, now: float, *, interrupted: bool) -> None:
        """Take in that the run is over. A host still at work is done, or stopped if interrupted."""
        self.closed = True
        for host in self.hosts.values():
            if host.state is HostState.BUSY:
                host.end(HostState.STOPPED if interrupted else HostState.DONE, now)

    def failures(self, log: str = "") -> list[BoxwrightError]:
        """Return why hosts stopped, as errors; the same failure of several hosts is one error."""
        alike: dict[tuple[object, ...], list[Failure]] = {}
        for host in self.hosts.values():
            for failure in host.failures:
                key = (failure.stage, failure.resource, failure.message, failure.output, failure.unreachable)
                alike.setdefault(key, []).append(failure)
        return [_error(failures, log) for failures in alike.values()]

    def _host(self, name: str, now: float) -> HostProgress:
        host = self.hosts.setdefault(name, HostProgress(name, {stage: StageProgress() for stage in self.stages}))
        host.begin(now)
        return host

    @staticmethod
    def _stage(host: HostProgress, stage: str) -> StageProgress:
        return host.stages.setdefault(stage, StageProgress())

    @staticmethod
    def _stage_of(event: Event, host: HostProgress) -> str:
        """Return the run's stage that an event belongs to; a run's may be coarser than its engines'."""
        return event.stage if event.stage in host.stages else host.stage or event.stage


def _error(failures: Sequence[Failure], log: str) -> BoxwrightError:
    """Return failures that differ only in their host as one error."""
    first = failures[0]
    hosts = named([failure.host for failure in failures])
    where = " / ".join(part for part in (hosts, first.stage, first.resource) if part)
    kind = UnreachableError if first.unreachable else BoxwrightError
    message = first.message.strip() or "The step failed and did not say why."
    return kind(message, where=where, hint=_hint(first, hosts, log), output=first.output)


def _last_word(output: str) -> str:
    """What a program of ours says when it gives up: its last line, behind its name."""
    last = output.rstrip().rpartition("\n")[2]
    said = re.fullmatch(r"[a-z]+(?:-[a-z]+)+: (.+)", last)
    return said[1] if said else ""


def _hint(failure: Failure, hosts: str, log: str) -> str:
    if failure.hint:
        hint = failure.hint
    elif failure.unreachable:
        hint = f"Check that {hosts} is up and answers ssh, then run the same command again."
    else:
        hint = f"Mend the cause on {hosts} and run the same command again: what is done stays done."
    return f"{hint}\nThe full log: {log}" if log else hint
