"""Holds every host of a target against its profile's contract, before anything on it is changed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from boxwright.detection.collect import detect
from boxwright.detection.contract import Result, judge
from boxwright.detection.machine import Machine
from boxwright.errors import BoxwrightError, ChangedKeyError, UnreachableError
from boxwright.model.catalogues import load_accelerators
from boxwright.model.site import Host
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.target import Target

Contracts = Mapping[str, tuple[Result, ...]]


@dataclass(frozen=True)
class Examination:
    """What was found on the hosts that could be looked at, and why the others could not.

    A host that does not answer at all is none of the failures: its run says why. One that shows another key than the
    pinned one is among them: nothing more is asked of whoever that is.
    """

    contracts: Contracts
    failures: Mapping[str, BoxwrightError]
    machines: Mapping[str, Machine] = field(default_factory=dict)
    unreachable: Mapping[str, UnreachableError] = field(default_factory=dict)


_AT_ONCE = 16  # each is one ssh session that mostly waits


def examine(target: Target) -> Examination:
    """Look at every host at once."""
    catalogue, fleet = load_accelerators(), target.fleet

    def look(host: Host) -> Machine | BoxwrightError:
        try:
            return detect(target.endpoint(host), catalogue)
        except BoxwrightError as error:
            return error

    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="contract") as pool:
        found = dict(zip((host.name for host in fleet.hosts), pool.map(look, fleet.hosts), strict=True))
    machines = {host: one for host, one in found.items() if isinstance(one, Machine)}
    return Examination(
        contracts={
            host.name: judge(machines[host.name], fleet.profile.hardware, fleet.waivers, serial=host.serial or "")
            for host in fleet.hosts
            if host.name in machines
        },
        machines=machines,
        failures={
            host: one for host, one in found.items() if isinstance(one, BoxwrightError) and not _does_not_answer(one)
        },
        unreachable={
            host: one for host, one in found.items() if isinstance(one, UnreachableError) and _does_not_answer(one)
        },
    )


def _does_not_answer(error: BoxwrightError) -> bool:
    return isinstance(error, UnreachableError) and not isinstance(error, ChangedKeyError)


def refusal(profile: str, host: str, results: tuple[Result, ...]) -> BoxwrightError | None:
    """Why this host is not taken any further; None when it is."""
    refused = [result for result in results if result.verdict == "refused"]
    if not refused:
        return None
    return BoxwrightError(
        f"this machine is not a {profile}: {'; '.join(result.sentence() for result in refused)}",
        where=host,
        hint="\n".join(
            [
                *dict.fromkeys(result.remedy for result in refused if result.remedy),
                "Or set the check aside under `waivers` of the site, with your name and a reason.",
            ]
        ),
    )


def split(target: Target, examination: Examination) -> tuple[Target, list[HostOutcome]]:
    """The target without the hosts that are refused or could not be looked at, and the outcome of each of those.

    A box of several nodes is taken further as a whole or not at all: so one that does not answer is refused there,
    before anything is changed on the others. So is one that is to take everything from a bundle: nobody knows whether
    that is of its release.
    """
    failures = dict(examination.failures)
    if target.fleet.profile.nodes > 1 or target.used:
        failures |= examination.unreachable
    failures |= _of_other_releases(target, examination)
    outcomes = [HostOutcome(name, error=error) for name, error in failures.items()]
    for name, results in examination.contracts.items():
        error = refusal(target.fleet.profile.name, name, results)
        if error and name not in failures:
            outcomes.append(HostOutcome(name, error=error))
    outcomes += _rest_of_boxes(target, {outcome.host for outcome in outcomes})
    refused = {outcome.host for outcome in outcomes}
    return target.only(lambda host: host.name not in refused), outcomes


def _of_other_releases(target: Target, examination: Examination) -> dict[str, BoxwrightError]:
    """Hosts that run something else than the bundle is for: when all were asked what they run, they were silent."""
    if target.used is None:
        return {}
    return {
        name: BoxwrightError(
            f"it runs {machine.release}, and this run takes everything from a bundle for {target.used.distribution}",
            where=name,
            hint="Provision it by a run of its own: --host.",
        )
        for name, machine in examination.machines.items()
        if machine.release != target.used.distribution
    }


def _rest_of_boxes(target: Target, refused: Set[str]) -> list[HostOutcome]:
    """The outcomes of hosts that are themselves right, and belong to a box of which another node is refused."""
    outcomes = []
    for host in target.fleet.hosts:
        wrong = [one.name for one in target.fleet.box_of(host) if one.name in refused]
        if wrong and host.name not in refused:
            outcomes.append(HostOutcome(host.name, error=half_a_box(host.name, wrong[0])))
    return outcomes


def half_a_box(host: str, wrong: str) -> BoxwrightError:
    """Why a node is taken no further that has nothing wrong with it."""
    return BoxwrightError(
        f"it serves together with {wrong}, which was taken no further: half a box serves nobody",
        where=host,
        hint=f"See what is said of {wrong}, then run the same command again.",
    )
