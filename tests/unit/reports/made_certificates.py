"""Certificates of a box that was never there, made by the same function as those of real ones."""

from __future__ import annotations

from boxwright.detection.contract import Result
from boxwright.detection.machine import Disk, GpuReading, Machine, Nic, NvidiaDriver, PcieLink, System, Unknown
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.contract import Waiver
from boxwright.model.site import Host, Site
from boxwright.reports.certificate import Certificate, Receipt, UsedBundle
from boxwright.reports.certify import Known, certify
from boxwright.reports.measurements import Gap, Kind, Measurements, Point, Series
from boxwright.signing import SigningKey
from boxwright.verification.check import Check, CheckOutcome, Severity

PROVISIONED, MEASURED, ISSUED = "2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z", "2026-11-01T10:00:00Z"
NOBODY = "SHA256:" + "A" * 43
RIDER = Waiver(check="pcie.width", by="Ada Lovelace", reason="the new riser comes on Monday")
NARROW = Result("pcie.width", "waived", "x8", "x16", "Reseat it.", "Ada Lovelace: the new riser comes on Monday")


def machine(**parts: object) -> Machine:
    """A machine of which nothing is known but these parts."""
    unknown = {
        name: Unknown(reason="no tool")
        for name, field in Machine.model_fields.items()
        if name not in ("host", "twin") and field.is_required()
    }
    return Machine.model_validate({"host": "box-1", **unknown, **parts})


def whole_machine() -> Machine:
    card = GpuReading(
        slot="0000:01:00.0", name="NVIDIA GeForce RTX 4090", uuid="GPU-5f", serial="1652", vbios=None, memory_mib=24564,
        power_limit_w=450, persistence=True, ecc=None, link=PcieLink(),
    )  # fmt: skip
    return machine(
        system=System(vendor="ASRockRack", product="4U8G", serial="SN-0042"),
        nvidia=NvidiaDriver(version="580.95.05", cuda="13.0", gpus=(card,)),
        disks=(Disk(name="nvme0n1", bytes=10**12, model="PM9A3", serial="S64"), Disk(name="sda", bytes=10**9)),
        nics=(Nic(name="eth0", mac="02:00:00:00:00:01", up=True, addresses=(), mbit_s=None),),
    )


def check(id: str, outcome: CheckOutcome = CheckOutcome.PASS, evidence: str = "seen") -> Check:
    return Check(
        id=id, title=f"The promise of {id}", severity=Severity.MAJOR, remedy=f"Mend {id}.", host="box-1",
        outcome=outcome, evidence=evidence, seconds=0.5,
    )  # fmt: skip


def bench(*values: float, floor: float | None = 10.0, **changes: object) -> Measurements:
    points = tuple(Point(at=2.0**place, value=value, predicted=value * 1.1) for place, value in enumerate(values))
    series = (
        Series(name="throughput", title="Tokens a second, all requests together", unit="tok/s", over="requests at once",
               points=points, floor=floor, remedy="Look at the power limit."),
        Series(name="first_token", title="Until the first token", unit="s", points=(Point(value=0.42),), ceiling=2.0),
        Series(name="errors", title="Requests that failed", points=(Point(value=0),)),
    )  # fmt: skip
    told = {
        "kind": "bench", "host": "box-1", "site": "s", "profile": "8x4090", "run": "r", "started_at": MEASURED,
        "seconds": 61.5, "tool": "a-bench 1.0", "conditions": {"model": "m"}, "series": series,
        "unproven": (Gap(what="power", reason="no card answers"),),
    }  # fmt: skip
    return Measurements.model_validate(told | changes)


GOOD = Series(name="cpu.failures", title="Wrong results of processors", points=(Point(value=0),), ceiling=0)
BUNDLE = UsedBundle(
    profile="8x4090", distribution="debian-12", lock="7" * 64, signed_at="2026-10-30T00:00:00Z", signing_key=NOBODY
)
RECEIPT = Receipt(
    profile="8x4090", provisioned_at=PROVISIONED, by="ada@bench", boxwright_version="0.1.0", stages=("base", "gateway"),
    versions={"nginx": "1.22.1-9", "llama_cpp": "b1, SIMULATED"}, digests={"model.gguf": "sha256:" + "0" * 64},
    bundle=BUNDLE,
)  # fmt: skip


def certificate(
    *checks: Check,
    machine: Machine | None = None,
    contract: tuple[Result, ...] = (),
    waivers: tuple[Waiver, ...] = (),
    receipt: Receipt | None = RECEIPT,
    measured: tuple[Measurements, ...] = (),
    signing_key: str = NOBODY,
    serial: str | None = None,
    ran: tuple[Kind, ...] = ("bench", "burnin"),
    profile: str = "8x4090",
) -> Certificate:
    """The certificate of `box-1`. Of an 8x4090 no digests of the model are pinned yet, so that nothing serves on it.

    Args:
        measured: What was measured; of the kinds in `ran` that are not among it, a run that went well.
        serial: The number that the site says of it.
    """
    kinds = {one.kind for one in measured}
    measured += tuple(bench(40, kind=kind, series=(GOOD,)) for kind in ran if kind not in kinds)
    site = Site(name="s", hosts=(Host(name="box-1", address="192.0.2.1", serial=serial),), waivers=waivers)
    fleet = make_fleet(load_profile(profile), site, load_models(), load_accelerators())
    known = Known(
        machine=machine or whole_machine(),
        contract=contract,
        promises={"pcie.width": "Every card has its full PCIe width"},
        checks=checks,
        receipt=receipt,
        measurements={one.kind: one for one in measured},
    )
    return certify(fleet, fleet.hosts[0], known, issued_at=ISSUED, issued_by="ada@bench", signing_key=signing_key)


def everything(key: SigningKey | None = None) -> Certificate:
    """One with something in each of its sections."""
    return certificate(
        check("services.active"),
        check("engine.stream", CheckOutcome.FAIL, "clumps of <b>9</b> & more"),
        check("contract.pcie.width", CheckOutcome.WAIVED, "waived by Ada Lovelace: the new riser (x8; wanted x16)"),
        check("accelerators.answer", CheckOutcome.UNPROVEN, "没有 nvidia-smi"),
        contract=(NARROW, Result("cpu.sockets", "ok", "2", "2")),
        waivers=(RIDER, Waiver(check="engine.numa", by="Bob", reason="only one node has memory")),
        measured=(bench(40, 75, 9, 120),),
        signing_key=key.public.fingerprint if key else NOBODY,
    )
