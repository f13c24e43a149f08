"""The certificate as a value. Its JSON is what is signed; everything that people read is made from it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from boxwright.model.base import Frozen, HostName, Identifier, Sha256
from boxwright.reports.measurements import Gap, Measurements, Series, Time
from boxwright.verification.check import Check, CheckOutcome

Verdict = Literal["passed", "passed_with_waivers", "failed"]
# As a machine is held against its contract; see `detection.contract.Verdict`.
ContractVerdict = Literal["ok", "refused", "warning", "waived", "unproven"]
Holding = Literal["holds", "fails", "waived", "no_bounds"]


class Fact(Frozen):
    """A line of what was found or promised."""

    what: str
    found: str


class Serial(Frozen):
    """A part of the machine that has a number of its own."""

    part: str
    name: str
    serial: str


class ContractLine(Frozen):
    """One check of the machine's contract: what was wanted, and what was found."""

    check: str
    promise: str
    verdict: ContractVerdict
    found: str
    wanted: str


class AppliedWaiver(Frozen):
    """A check that somebody set aside.

    Attributes:
        needed: Whether it did set something aside: the check, or the measurement, would have failed.
    """

    check: str
    by: str
    reason: str
    needed: bool


class UsedBundle(Frozen):
    """The bundle that a box was made from, as its receipt names it.

    Attributes:
        lock: Digest of the lock's file, which names every artefact.
        signed_at: When the bundle was signed; empty where it does not tell.
        signing_key: Who signed it, as `ssh-keygen -l` writes it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # later releases may tell more

    profile: str
    distribution: str
    lock: Sha256
    signed_at: str = ""
    signing_key: str = ""

    @property
    def name(self) -> str:
        """As its lock is called in the bundle."""
        return f"{self.profile}-{self.distribution}"

    @property
    def told(self) -> str:
        """On one line, for people."""
        signed = f", {self.signed_at}" if self.signed_at else ""
        return f"{self.name}{signed}, lock sha256:{self.lock}, {self.signing_key}"


class Receipt(Frozen):
    """What the box says of its provisioning, from `/etc/boxwright/receipt.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # later releases may tell more

    profile: str
    provisioned_at: Time
    by: str
    boxwright_version: str
    host: str = ""
    site: str = ""
    run: str = ""
    started_at: str = ""
    source_revision: str = ""
    stages: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    digests: dict[str, str] = Field(default_factory=dict)
    bundle: UsedBundle | None = None

    @property
    def boxwright(self) -> str:
        """Which Boxwright provisioned the box, as exactly as is known."""
        revision = f" ({self.source_revision})" if self.source_revision else ""
        return f"{self.boxwright_version}{revision}"


class EvidenceFile(Frozen):
    """A file that goes with the certificate: what is on the box, or how it was built."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]  # beside the certificate
    sha256: Sha256


class Certificate(Frozen):
    """What is certified of one box at one time.

    Attributes:
        format: The shape of this file.
        boxwright_version: The release that made it; it is also the one that draws its pages.
        issued_at: When everything below was found to be so.
        issued_by: Who asked for it, as `user@controller`.
        signing_key: Fingerprint of the key that it is signed with, as `ssh-keygen -l` writes it.
        twin: Whether the host is a throw-away twin: its hardware is SIMULATED.
        without_stack: Why nothing serves on the box; empty where it serves.
        stated_serial: The number on its case, as its site says; empty where the site says none.
        promised: The profile in words.
        machine: What was found, from the case inwards.
        contract: The machine against its contract.
        checks: Every check of the verification, those of the contract among them.
        measurements: What was measured since the box was provisioned last.
        receipt: None where the box has none.
        evidence: The bill of materials, the receipt and the signed statement of the build; none without a receipt.
        waivers: Everything that is set aside on this host.
        unproven: What nobody could prove, apart from checks that say so themselves.
        verdict: What all of this comes to.
    """

    format: Literal["boxwright-certificate/1"] = "boxwright-certificate/1"
    boxwright_version: str
    issued_at: Time
    issued_by: str
    signing_key: Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
    host: HostName
    site: Identifier
    profile: Identifier
    summary: str
    twin: bool
    without_stack: str = ""
    stated_serial: str = ""
    promised: tuple[Fact, ...]
    serials: tuple[Serial, ...]
    machine: tuple[Fact, ...]
    contract: tuple[ContractLine, ...]
    checks: tuple[Check, ...]
    measurements: tuple[Measurements, ...] = ()
    receipt: Receipt | None = None
    evidence: tuple[EvidenceFile, ...] = ()
    waivers: tuple[AppliedWaiver, ...] = ()
    unproven: tuple[Gap, ...] = ()
    verdict: Verdict

    @model_validator(mode="after")
    def _verdict_is_what_is_told(self) -> Certificate:
        if self.verdict != (said := verdict(self.checks, self.measurements, self.waivers)):
            raise ValueError(f"the verdict is '{self.verdict}', and what is told comes to '{said}'")
        return self

    @property
    def firmware_serial(self) -> str:
        """The machine's number by its firmware; empty where that has none. A twin's firmware is not its own."""
        return "" if self.twin else next((one.serial for one in self.serials if one.part == "machine"), "")

    @property
    def serial(self) -> str:
        """The number on the case: what the site says, else what the firmware does; empty where nobody says one."""
        return self.stated_serial or self.firmware_serial

    @property
    def serials_differ(self) -> bool:
        """Whether the firmware tells of another machine than the site does."""
        told = [one.strip().casefold() for one in (self.stated_serial, self.firmware_serial)]
        return all(told) and told[0] != told[1]

    def with_outcome(self, outcome: CheckOutcome) -> tuple[Check, ...]:
        """The checks that ended in one way."""
        return tuple(check for check in self.checks if check.outcome is outcome)

    def holding(self, measured: Measurements, series: Series) -> Holding:
        """Whether a series keeps within its bounds."""
        return holding(measured, series, self.waivers)


def holding(measured: Measurements, series: Series, waivers: tuple[AppliedWaiver, ...]) -> Holding:
    """Whether a series keeps within its bounds, or somebody accepts that it does not."""
    if series.floor is None and series.ceiling is None:
        return "no_bounds"
    if not series.out_of_bounds:
        return "holds"
    waived = {waiver.check for waiver in waivers}
    return "waived" if f"{measured.kind}.{series.name}" in waived else "fails"


def verdict(
    checks: tuple[Check, ...], measurements: tuple[Measurements, ...], waivers: tuple[AppliedWaiver, ...]
) -> Verdict:
    """What a box comes to: one failed check or measurement is enough, and no check at all is a failure, too."""
    held = [holding(measured, series, waivers) for measured in measurements for series in measured.series]
    outcomes = {check.outcome for check in checks}
    stopped = any(measured.stopped for measured in measurements)
    if not checks or CheckOutcome.FAIL in outcomes or "fails" in held or stopped:
        return "failed"
    return "passed_with_waivers" if CheckOutcome.WAIVED in outcomes or "waived" in held else "passed"


def to_json(certificate: Certificate) -> bytes:
    """The certificate as the file that is signed: keys in order, so that equal certificates are equal files."""
    told = certificate.model_dump(mode="json")
    return (json.dumps(told, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def from_json(data: bytes) -> Certificate:
    """A certificate from its file.

    Raises:
        ValueError: It is none, or its verdict is not what it tells.
    """
    return Certificate.model_validate_json(data)
