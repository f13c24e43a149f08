"""One host on its way through its stages: lock, Ansible, pyinfra, receipt. Or a dry run of the same."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from boxwright.engines.ansible.engine import invocation as ansible_invocation
from boxwright.engines.environment import engine_environment
from boxwright.engines.events import Event, Outcome, Phase
from boxwright.engines.process import Cancellation, Invocation, stream
from boxwright.engines.pyinfra.job import Job, JobHost
from boxwright.errors import BoxwrightError, EngineError, UnreachableError
from boxwright.model.site import Host
from boxwright.model.variables import named
from boxwright.places import ROOT
from boxwright.planning.changes import PlannedChange
from boxwright.planning.stages import Engine, Stage, stages_for
from boxwright.provisioning.box import Box
from boxwright.provisioning.outcome import HostOutcome, StageState
from boxwright.provisioning.target import Target
from boxwright.transport.lock import DeployLock, Holder

_NOISE_LINES = 40


class Watcher(Protocol):
    """Who is told how a host fares; from a thread of that host."""

    def event(self, event: Event) -> None:
        """A resource began or ended."""

    def stage(self, host: str, stage: str, state: Literal["running"] | StageState, seconds: float) -> None:
        """A stage began or ended."""

    def fail(self, host: str, stage: str, error: BoxwrightError) -> None:
        """The host stopped for a reason outside its resources."""

    def noise(self, host: str, line: str) -> None:
        """An engine wrote something that is no event."""

    def waits(self, host: str, others: str) -> None:
        """The host goes on when these other machines of its box have come as far."""


@dataclass(frozen=True)
class Work:
    """What a run does to each of its hosts."""

    target: Target
    stages: tuple[Stage, ...]
    dry_run: bool
    holder: Holder
    directory: Path  # private, for the engines' inputs
    watcher: Watcher
    cancellation: Cancellation
    afterwards: Callable[[Host], None]  # still under the lock, when all stages went well


class HostRun:
    """Takes one host through a work.

    Args:
        work: What is done.
        host: To whom.
        box: What it shares with the other nodes of its box: when one of them fails, all stop.
    """

    def __init__(self, work: Work, host: Host, box: Box) -> None:
        self._work = work
        self._host = host
        self._box = box
        self._stages = stages_for(work.target.fleet, host, work.stages)
        self._outcome = HostOutcome(host.name)
        self._clock = _StageClock(host.name, work.watcher, self._outcome.seconds)
        self._noise: collections.deque[str] = collections.deque(maxlen=_NOISE_LINES)
        self._failure: Event | None = None
        self._cancellation = box.cancellation.part()
        self._unlocked = False
        self._lock = DeployLock(work.target.endpoint(host), work.holder, self._on_lock_lost)

    def run(self) -> HostOutcome:
        """Go through the stages until one fails or all are done. Never raises for what happens to the host."""
        try:
            with self._lock:
                self._engines()
                if not self._work.dry_run:
                    self._together("afterwards")
                    self._work.afterwards(self._host)
        except BoxwrightError as error:
            self._outcome.error = error
            if self._failure is None and not self._interrupted:
                self._work.watcher.fail(self._host.name, self._clock.current or self._work.stages[0].name, error)
        except OSError as error:  # of this host's processes and files here; the other hosts go on
            self._outcome.error = EngineError(str(error), where=self._host.name)
            self._work.watcher.fail(self._host.name, self._work.stages[0].name, self._outcome.error)
        except BaseException:  # a mistake of ours: the other nodes would wait for this one
            self._box.cancellation.cancel()
            raise
        finally:
            if not self._interrupted or self._outcome.finished:
                self._clock.end(failed=not self._outcome.finished)
            if not self._outcome.finished:
                self._box.cancellation.cancel()
        return self._outcome

    @property
    def _interrupted(self) -> bool:
        """Whether somebody ended the whole run. Nothing is wrong with the host then: it is not told as failed."""
        return self._work.cancellation.cancelled

    def _engines(self) -> None:
        for engine, stages in self._parts():
            self._together(stages[0].name)
            self._through(engine, stages)
        self._check_whether_to_go_on()

    def _parts(self) -> Iterator[tuple[Engine, tuple[Stage, ...]]]:
        """What is done at one go.

        The engine of a box of several nodes ends when every one of them has the weights, and not on the first that has.
        """
        for engine in ("ansible", "pyinfra"):
            stages = [stage for stage in self._stages if stage.engine == engine]
            fetching = [] if self._box.alone or self._work.dry_run else [one for one in stages if one.name == "models"]
            for part in (fetching, [stage for stage in stages if stage not in fetching]):
                if part:
                    yield engine, tuple(part)

    def _together(self, point: str) -> None:
        """Go on with all nodes of the box: half a box is not changed. A dry run changes none."""
        if not self._work.dry_run:
            self._box.meet(self._host.name, point, lambda: self._cancellation.cancelled, self._say_that_it_waits)
        self._check_whether_to_go_on()

    def _say_that_it_waits(self, others: str) -> None:
        self._work.watcher.waits(self._host.name, others)

    def _through(self, engine: Engine, stages: tuple[Stage, ...]) -> None:
        known = {stage.name for stage in stages}
        with self._invocation(engine, stages) as invocation:
            code = stream(
                invocation,
                on_event=lambda event: self._on_event(engine, known, event),
                on_noise=self._on_noise,
                cancellation=self._cancellation,
            )
        self._check_whether_to_go_on()
        if code:
            raise self._why(engine, code)
        self._clock.end(failed=False)

    def _check_whether_to_go_on(self) -> None:
        if self._unlocked:
            raise UnreachableError(
                "the connection that held the box's deploy lock broke, so the run was stopped there",
                where=self._host.name,
                hint="Run the same command again: it goes on from here.",
            )
        if self._work.cancellation.cancelled:
            raise EngineError("the run was interrupted", where=self._host.name)
        if self._box.cancellation.cancelled:
            raise EngineError(
                "it was stopped, as another node of its box failed: half a box serves nobody",
                where=self._host.name,
                hint="See what is said of the other node, then run the same command again: it goes on from here.",
            )
        if self._cancellation.cancelled:
            raise EngineError("the run was interrupted", where=self._host.name)

    @contextlib.contextmanager
    def _invocation(self, engine: Engine, stages: tuple[Stage, ...]) -> Iterator[Invocation]:
        work, names = self._work, [stage.name for stage in stages]
        roles, deploys = work.target.variables(self._host)
        endpoint = work.target.endpoint(self._host)
        if engine == "ansible":
            with ansible_invocation(
                endpoint, roles, names, dry_run=work.dry_run, directory=work.directory
            ) as invocation:
                yield invocation
            return
        job = Job(
            hosts=(
                JobHost(
                    name=endpoint.name,
                    address=endpoint.address,
                    port=endpoint.port,
                    user=endpoint.user,
                    key=endpoint.key,
                    known_hosts=endpoint.known_hosts or Path("~/.ssh/known_hosts").expanduser(),
                    data={key: value for unit in deploys for key, value in named(unit).items()},
                    become=endpoint.become,
                    connect_timeout_s=endpoint.connect_timeout_s,
                    login_timeout_s=endpoint.login_timeout_s,
                ),
            ),
            deploys=tuple(f"deploys/{name}.py" for name in names),
            dry_run=work.dry_run,
        )
        yield Invocation(
            argv=(sys.executable, "-m", "boxwright.engines.pyinfra.worker"),
            environment=engine_environment(os.environ),
            directory=ROOT,
            stdin=job.model_dump_json(),
        )

    def _on_event(self, engine: Engine, known: set[str], event: Event) -> None:
        if event.stage in known:
            self._clock.at(event)
        if event.stage == "reboot" and event.resource == "Reboot" and event.changed:
            self._lock.renew()
        if event.failed and self._interrupted:
            return  # what the end of the run tore
        if event.failed:
            self._failure = event
        if event.phase is Phase.FINISHED:
            self._count(engine, event)
        self._work.watcher.event(event)

    def _count(self, engine: Engine, event: Event) -> None:
        if event.outcome is Outcome.CHANGED:
            change = PlannedChange(event.host, event.stage, engine, event.resource, event.diff)
            self._outcome.changes.append(change)
        elif event.outcome is Outcome.OK:
            self._outcome.already_right += 1

    def _on_lock_lost(self) -> None:
        if self._clock.current == "reboot":  # which takes it again
            return
        self._unlocked = True
        self._cancellation.cancel()

    def _on_noise(self, line: str) -> None:
        self._noise.append(line)
        self._work.watcher.noise(self._host.name, line)

    def _why(self, engine: Engine, code: int) -> BoxwrightError:
        event = self._failure
        if event is None:
            how = f"signal {-code}" if code < 0 else f"code {code}"
            return EngineError(
                f"{engine} ended with {how} and did not say why",
                where=self._host.name,
                output="\n".join(self._noise),
            )
        where = f"{event.host} / {event.stage} / {event.resource}"
        return BoxwrightError(event.message or "it failed", where=where, output=event.output)


class _StageClock:
    """Tells when a stage begins and ends, and adds up its seconds; handlers may enter a stage for a second time."""

    def __init__(self, host: str, watcher: Watcher, seconds: dict[str, float]) -> None:
        self._host = host
        self._watcher = watcher
        self._seconds = seconds
        self._changed: set[str] = set()
        self._since = 0.0
        self.current = ""

    def at(self, event: Event) -> None:
        """Take in an event of a stage."""
        if event.stage != self.current:
            self.end(failed=False)
            self.current, self._since = event.stage, time.monotonic()
            self._watcher.stage(self._host, event.stage, "running", 0.0)
        if event.changed:
            self._changed.add(event.stage)

    def end(self, *, failed: bool) -> None:
        """The current stage is over, if there is one."""
        if not self.current:
            return
        stage, self.current = self.current, ""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - self._since
        state: StageState = "failed" if failed else "changed" if stage in self._changed else "ok"
        self._watcher.stage(self._host, stage, state, self._seconds[stage])
