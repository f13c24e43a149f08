"""What `burnin` does: loads boxes part by part, counts what breaks, and leaves them as they were."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from boxwright.burnin import unit
from boxwright.burnin.host_burn import HostBurn
from boxwright.burnin.ring import Ring
from boxwright.burnin.session import StoppedError, leftovers
from boxwright.burnin.shown import show
from boxwright.burnin.target import BurnInTarget, ForCards, for_cards
from boxwright.burnin.wish import Wish, wish_of
from boxwright.console import Console, RunView
from boxwright.errors import BoxwrightError, Exit, LockedError, UnreachableError
from boxwright.factory.extras import burn_in_needs
from boxwright.factory.offline import from_bundle
from boxwright.model.site import Host
from boxwright.provisioning.outcome import HostOutcome, exit_code
from boxwright.provisioning.run import execute, redactor
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.reporting.run_log import RunLog, now, operator
from boxwright.reports.measurements import Measurements
from boxwright.reports.runs import write_measurements
from boxwright.transport.lock import DeployLock, Holder

_GONE = "the controller went away before its end"


@dataclass(frozen=True)
class Burned:
    """How a burn-in of one host ended.

    Attributes:
        measured: What was found; None where no load began.
        error: Why it ended early; None where it did not.
        accepted: Names of measurements that a waiver sets aside.
    """

    host: Host
    measured: Measurements | None
    error: BoxwrightError | None
    accepted: frozenset[str] = frozenset()

    @property
    def good(self) -> bool:
        """Whether it went to its end, and nothing broke."""
        return self.error is None and self.measured is not None and not self.measured.breaches(self.accepted)


def burnin(
    console: Console,
    choice: Choice,
    *,
    minutes: float,
    only: tuple[str, ...],
    keep: bool,
    bundle: str = "",
    signer: str = "",
) -> Exit:
    """Burn every host of a fleet in. Exit 6: something broke, or a burn-in did not go to its end.

    Args:
        console: Told how it goes.
        choice: The hosts.
        minutes: Of all parts together.
        only: Names of parts; none: all that the profile has.
        keep: Leave the packages on the boxes for the next burn-in.
        bundle: Folder of the bundle that the boxes were made from, for what loads them; empty: their own sources.
        signer: Whose the bundle must be.

    Raises:
        BadInputError: A name, a file or an argument is wrong, or the bundle lacks something of a burn-in.
    """
    fleet = choose(choice)
    wish = wish_of(fleet.profile, minutes=minutes, only=only, keep=keep)
    with from_bundle(bundle, fleet, signer, console.info) as door:
        target = prepare(fleet, console.info, boot=False, offline=door)
        if door:
            door.require(burn_in_needs(fleet, door.lock.distribution), "--also burnin")
        carried = door.source if door else lambda _: None
        return _burnin(console, target, wish, for_cards(target.fleet, wish, console.info, carried))


def _burnin(console: Console, target: Target, wish: Wish, cards: ForCards | None) -> Exit:
    fleet = target.fleet
    if not fleet.without_stack:
        console.warning("what serves on these boxes goes on, and is slow meanwhile; it also takes room from the loads")
    with RunLog("burnin", redactor(target)) as log:
        code = _whole(console, target, wish, cards, log)
        if code is not Exit.OK:
            log.close("failed")
    return code


def _whole(console: Console, target: Target, wish: Wish, cards: ForCards | None, log: RunLog) -> Exit:
    """Bring the programs, burn in, and take them away again."""
    brought, burned, clean = list[HostOutcome](), list[Burned](), True
    try:
        brought = _programs(console, BurnInTarget.of(target, "present", cards), log)
        able = {one.host for one in brought if one.finished}
        if able:
            burned = _burn(console, target.only(lambda host: host.name in able), wish, log)
    finally:
        away = {one.host for one in brought if isinstance(one.error, UnreachableError | LockedError)}
        there = target.only(lambda host: host.name not in away)
        if there.fleet.hosts and not wish.keep:
            clean = all(one.finished for one in _programs(console, BurnInTarget.of(there, "absent"), log))
    for one in burned:
        _tell(console, one, log)
    if not able:
        return exit_code(brought)
    whole = clean and len(burned) == len(brought) and all(one.good for one in burned)
    return Exit.OK if whole else Exit.VERIFY_FAILED


def _programs(console: Console, target: BurnInTarget, log: RunLog) -> list[HostOutcome]:
    """Bring the programs that load, or remove what was brought."""
    names, stages = [host.name for host in target.fleet.hosts], target.stages
    title = "Install what loads a machine" if target.state == "present" else "Remove what was installed for it"
    with console.run(title, names, [stage.name for stage in stages], log=str(log.path)) as view:
        return execute(
            target,
            stages,
            dry_run=False,
            log=log,
            view=view,
            verb="burnin",
            afterwards=lambda _: None,  # nothing of the box's own has changed
        )


def _burn(console: Console, target: Target, wish: Wish, log: RunLog) -> list[Burned]:
    """Load all hosts at the same time, each on its own way."""
    fleet, stop = target.fleet, threading.Event()
    names = [host.name for host in fleet.hosts]
    minutes = wish.seconds * len(wish.parts) / 60
    title = f"Burn in {', '.join(names)} for {minutes:.3g} min: {', '.join(wish.parts)}"
    rings = {fleet.head_of(host).name: Ring(fleet.box_of(host)) for host in fleet.hosts}
    for host in fleet.hosts:  # of nodes that are not loaded nobody waits for a word
        for node in fleet.box_of(host):
            if node.name not in names:
                rings[fleet.head_of(host).name].leave(node)
    with (
        console.run(title, names, wish.parts, log=str(log.path)) as view,
        ThreadPoolExecutor(max_workers=len(names), thread_name_prefix="burn-in") as pool,
    ):
        burns = [HostBurn(target, host, wish, stop, view, rings[fleet.head_of(host).name]) for host in fleet.hosts]
        runs = [pool.submit(_one, burn, log, view) for burn in burns]
        try:
            return [run.result() for run in runs]
        except BaseException:
            stop.set()
            console.info("Every load is being ended …")
            raise


def _one(burn: HostBurn, log: RunLog, view: RunView) -> Burned:
    """Burn one host in, under its lock, and write what was found, however it ends."""
    host, endpoint = burn.host, burn.target.endpoint(burn.host)
    started, begun = now(), time.monotonic()
    error: BoxwrightError | None = None
    try:
        with DeployLock(endpoint, Holder(operator(), started, "a burn-in"), on_lost=burn.lost.set):
            write_measurements(log.directory, _measurements(burn, log, started, 0.0, _GONE))
            burn.run()
    except BoxwrightError as problem:
        error = problem
        burn.ring.leave(host)
        if not burn.stop.is_set():  # who stopped it knows why
            view.fail(host.name, burn.part or burn.wish.parts[0], problem)
    if left := _left(burn):
        error = left
        view.fail(host.name, burn.part or burn.wish.parts[0], left)
    if burn.part is None:  # no load began
        (log.directory / f"burnin-{host.name}.json").unlink(missing_ok=True)
        return Burned(host, None, error)
    why = error.message if error else ""
    measured = _measurements(burn, log, started, time.monotonic() - begun, why)
    log.write("burnin", measured.model_dump(mode="json"))
    write_measurements(log.directory, measured)
    return Burned(host, measured, error, burn.target.fleet.accepted(host.name))


def _left(burn: HostBurn) -> BoxwrightError | None:
    """What is wrong with a box behind a burn-in: that something of it is still there."""
    files = unit.files_of(burn.target.fleet.profile.stack.models_directory)
    try:
        left = leftovers(burn.target.endpoint(burn.host), files)
    except BoxwrightError:
        return None  # it went away, which was told already; the loads end alone
    told = f"the burn-in is over, and this is left of it: {left}"
    return BoxwrightError(told, where=burn.host.name) if left else None


def _measurements(burn: HostBurn, log: RunLog, started: str, seconds: float, stopped: str) -> Measurements:
    fleet = burn.target.fleet
    return Measurements(
        kind="burnin",
        host=burn.host.name,
        site=fleet.site.name,
        profile=fleet.profile.name,
        run=log.id,
        started_at=started,
        seconds=round(seconds, 1),
        tool=burn.tools,
        conditions={
            "parts": ", ".join(burn.wish.parts),
            "each part": f"{burn.wish.seconds} s",
            "meanwhile": "what serves went on",
        },
        series=tuple(burn.findings.series),
        unproven=tuple(burn.findings.gaps),
        stopped=stopped,
    )


def _tell(console: Console, burned: Burned, log: RunLog) -> None:
    """The table of a host, and where it is written."""
    if burned.measured is None:
        return
    show(console, burned.measured, burned.accepted)
    path = log.directory / f"burnin-{burned.host.name}.json"
    console.data("measurements", {"host": burned.host.name, "file": str(path)})
    if isinstance(burned.error, StoppedError):
        console.warning(f"{burned.host.name}: it was stopped, and proves nothing: {burned.error.message}")
    console.info(f"Written: {path}")
