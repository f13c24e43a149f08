"""From what is known of a box to its certificate. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from boxwright import __version__
from boxwright.burnin.wish import parts_of
from boxwright.detection.contract import Result
from boxwright.detection.machine import Machine, Unknown
from boxwright.detection.report import rows
from boxwright.model.contract import ProfileWaiver
from boxwright.model.fleet import Fleet
from boxwright.model.hardware import Hardware
from boxwright.model.site import Host
from boxwright.reports.certificate import (
    AppliedWaiver,
    Certificate,
    ContractLine,
    EvidenceFile,
    Fact,
    Receipt,
    Serial,
    verdict,
)
from boxwright.reports.measurements import Gap, Kind, Measurements
from boxwright.verification.check import Check, CheckOutcome, Severity

_KINDS: tuple[Kind, ...] = ("bench", "burnin")
_NOT_RUN: dict[Kind, str] = {
    "bench": "it was not run: ./invoke bench",
    "burnin": "it was not run: ./invoke burnin",
}
RAN: dict[Kind, str] = {
    "bench": "The box was measured as it stands",
    "burnin": "Every part of the box was under load as it stands",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that was found out about one host.

    Attributes:
        machine: What detection found; None where the host could not be looked at.
        contract: The machine against its contract.
        promises: What each check of the contract promises, as a sentence.
        checks: The whole verification, with the checks of the contract.
        receipt: What the box says of its provisioning.
        measurements: The newest of each kind.
        evidence: Digests of the files that tell what is on the box and how it was built, by name.
        evidence_gap: Why there are none.
    """

    machine: Machine | None
    contract: Sequence[Result] = ()
    promises: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    receipt: Receipt | None = None
    measurements: Mapping[Kind, Measurements] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    evidence_gap: str = ""


def certify(fleet: Fleet, host: Host, known: Known, *, issued_at: str, issued_by: str, signing_key: str) -> Certificate:
    """The certificate of one host.

    Args:
        fleet: What was promised.
        host: The host.
        known: What was found and measured.
        issued_at: The time, UTC.
        issued_by: `user@controller`.
        signing_key: The fingerprint of the key that will sign it.
    """
    measured = tuple(one for kind in _KINDS if (one := _current(known, kind)))
    twin = fleet.site.twin is not None or (known.machine is not None and known.machine.twin)
    # Of a box that nothing was checked of, these would be all, and make it pass.
    ran = () if twin or not known.checks else tuple(_ran(fleet, host, known, measured))
    checks = tuple(sorted((*known.checks, *ran), key=lambda check: check.id))
    accepted = (one for one in fleet.waivers if one.covers(one.check, host.name))
    waivers = tuple(_applied(one, checks, measured) for one in accepted)
    return Certificate(
        boxwright_version=__version__,
        issued_at=issued_at,
        issued_by=issued_by,
        signing_key=signing_key,
        host=host.name,
        site=fleet.site.name,
        profile=fleet.profile.name,
        summary=fleet.profile.summary,
        twin=twin,
        without_stack=fleet.without_stack,
        stated_serial=host.serial or "",
        promised=tuple(_promised(fleet)),
        serials=tuple(_serials(known.machine)) if known.machine else (),
        machine=tuple(Fact(what=what, found=found) for what, found in rows(known.machine)) if known.machine else (),
        contract=tuple(
            ContractLine(
                check=one.check,
                promise=known.promises.get(one.check, one.check),
                verdict=one.verdict,
                found=one.found,
                wanted=one.wanted,
            )
            for one in known.contract
        ),
        checks=checks,
        measurements=measured,
        receipt=known.receipt,
        evidence=tuple(EvidenceFile(name=name, sha256=digest) for name, digest in sorted(known.evidence.items())),
        waivers=waivers,
        unproven=tuple(_unproven(known, measured, {one.id for one in ran})),
        verdict=verdict(checks, measured, waivers),
    )


def _current(known: Known, kind: Kind) -> Measurements | None:
    """What was measured of a kind, if it is of the box as it is now."""
    measured = known.measurements.get(kind)
    if measured is None or (known.receipt and measured.started_at < known.receipt.provisioned_at):
        return None
    return measured


def _ran(fleet: Fleet, host: Host, known: Known, current: Sequence[Measurements]) -> Iterator[Check]:
    """Whether a real box was measured and burned in as it stands: what was left out has failed, or is waived."""
    measured: dict[Kind, Measurements] = {one.kind: one for one in current}
    serves = fleet.leads(host) and not fleet.without_stack and fleet.model.purpose != "embedding"
    for kind in _KINDS if serves else _KINDS[1:]:
        missing = _left_out(fleet, known, measured.get(kind), kind)
        waiver = next((one for one in fleet.waivers if one.covers(f"{kind}.ran", host.name)), None)
        if missing:
            outcome = CheckOutcome.WAIVED if waiver else CheckOutcome.FAIL
            evidence = f"waived by {waiver.by}: {waiver.reason} ({missing})" if waiver else missing
        else:
            outcome, evidence = CheckOutcome.PASS, f"the run of {measured[kind].started_at}"
        yield Check(
            id=f"{kind}.ran",
            title=RAN[kind],
            severity=Severity.MAJOR,
            remedy=f"Run ./invoke {kind} --profile {fleet.profile.name}. Or set {kind}.ran aside by a waiver.",
            host=host.name,
            outcome=outcome,
            evidence=evidence,
        )


def _left_out(fleet: Fleet, known: Known, measured: Measurements | None, kind: Kind) -> str:
    """What of a box was not measured as it stands; empty where nothing was left out."""
    if measured is None:
        return _not_run(known, kind)
    parts = measured.conditions.get("parts", "")  # of somebody else's tool nobody knows them
    missing = [part for part in parts_of(fleet.profile) if part not in parts.split(", ")] if parts else []
    return f"the run of {measured.started_at} left out {', '.join(missing)}" if missing else ""


def _not_run(known: Known, kind: Kind) -> str:
    old = known.measurements.get(kind)
    return f"the run of {old.started_at} is older than what stands on the box" if old else _NOT_RUN[kind]


def _unproven(known: Known, current: Sequence[Measurements], checked: Set[str]) -> Iterator[Gap]:
    """What nobody looked at, or nobody could see, and no check tells."""
    kinds = {one.kind for one in current}
    for kind in _KINDS:
        if kind not in kinds and f"{kind}.ran" not in checked:
            yield Gap(what=kind, reason=_not_run(known, kind))
    for measured in current:
        yield from (Gap(what=f"{measured.kind}: {gap.what}", reason=gap.reason) for gap in measured.unproven)
    if known.machine is None:
        yield Gap(what="machine", reason="it could not be looked at")
        return
    if known.receipt is None:
        yield Gap(what="receipt", reason="the box has none that can be read")
    if known.evidence_gap:
        yield Gap(what="evidence", reason=known.evidence_gap)
    for name in type(known.machine).model_fields:
        value = getattr(known.machine, name)
        if isinstance(value, Unknown) and name != "nvidia":
            yield Gap(what=name.replace("_", " "), reason=value.reason)


def _applied(waiver: ProfileWaiver, checks: Sequence[Check], measured: Sequence[Measurements]) -> AppliedWaiver:
    names = {waiver.check, f"contract.{waiver.check}"}
    breached = {f"{one.kind}.{series.name}" for one in measured for series in one.series if series.out_of_bounds}
    waived = {check.id for check in checks if check.outcome is CheckOutcome.WAIVED}
    needed = bool(names & (waived | breached))
    return AppliedWaiver(check=waiver.check, by=waiver.by, reason=waiver.reason, needed=needed)


def _promised(fleet: Fleet) -> Iterator[Fact]:
    profile, stack = fleet.profile, fleet.profile.stack
    yield Fact(what="profile", found=f"{profile.name}: {profile.summary}")
    yield from _hardware(profile.hardware)
    if profile.nodes > 1:
        yield Fact(what="nodes", found=str(profile.nodes))
    yield Fact(what="model", found=fleet.weights.name)
    yield Fact(what="engine", found=stack.engine)
    yield Fact(what="context", found=f"{stack.context_tokens} tokens")
    for service in stack.further:
        yield Fact(what=f"service {service.name}", found=f"{service.model} by {service.engine}")


def _hardware(hardware: Hardware) -> Iterator[Fact]:
    cards = ", ".join(f"{group.count} x {group.name}" for group in hardware.accelerators)
    if cards:
        yield Fact(what="accelerators", found=cards)
    cpu = hardware.cpu
    yield Fact(what="processors", found=f"{cpu.sockets} x {cpu.cores_per_socket} cores")
    yield Fact(what="memory", found=f"{hardware.memory_gib:g} GiB")
    yield Fact(what="disk", found=f"{hardware.disk_gib:g} GiB")


def _serials(machine: Machine) -> Iterator[Serial]:
    """Every part that has a number of its own, from the case inwards; a network port's is its address."""
    if not isinstance(machine.system, Unknown) and machine.system.serial:
        name = " ".join(filter(None, (machine.system.vendor, machine.system.product)))
        yield Serial(part="machine", name=name, serial=machine.system.serial)
    if not isinstance(machine.nvidia, Unknown):
        for gpu in machine.nvidia.gpus:
            number = " ".join(filter(None, (gpu.serial, gpu.uuid)))
            if number:
                yield Serial(part="accelerator", name=f"{gpu.slot} {gpu.name or ''}".strip(), serial=number)
    if not isinstance(machine.disks, Unknown):
        for disk in machine.disks:
            if disk.serial:
                yield Serial(part="disk", name=f"{disk.name} {disk.model}".strip(), serial=disk.serial)
    if not isinstance(machine.nics, Unknown):
        for nic in machine.nics:
            yield Serial(part="network", name=nic.name, serial=nic.mac)
