"""What of a box comes into its certificate, and what the whole comes to."""

from __future__ import annotations

import pytest
from made_certificates import GOOD, MEASURED, RECEIPT, RIDER, bench, certificate, check, everything, machine

from boxwright.detection.machine import System
from boxwright.model.contract import Waiver
from boxwright.reports.certificate import Certificate, from_json, to_json
from boxwright.verification.check import CheckOutcome

PASS = check("services.active")
TWIN = machine(twin=True)
FLOOR = Waiver(check="bench.throughput", by="Ada", reason="the second supply comes in March")


def test_every_part_with_a_number_of_its_own_is_told() -> None:
    told = certificate(PASS)
    assert [(one.part, one.serial) for one in told.serials] == [
        ("machine", "SN-0042"),
        ("accelerator", "1652 GPU-5f"),
        ("disk", "S64"),
        ("network", "02:00:00:00:00:01"),
    ]
    assert told.serial == "SN-0042"
    assert certificate(PASS, machine=machine()).serial == ""


def test_the_number_that_the_site_says_is_signed_and_one_that_differs_is_seen() -> None:
    nameless = certificate(PASS, machine=machine(), serial="SN-1")
    assert (nameless.serial, nameless.firmware_serial, nameless.serials_differ) == ("SN-1", "", False)
    assert b'"stated_serial": "SN-1"' in to_json(nameless)
    same = certificate(PASS, serial="sn-0042")
    assert (same.serial, same.firmware_serial, same.serials_differ) == ("sn-0042", "SN-0042", False)
    other = certificate(PASS, serial="SN-1")
    assert (other.serial, other.firmware_serial, other.serials_differ) == ("SN-1", "SN-0042", True)
    of_controller = machine(system=System(serial="of-the-controller"), twin=True)
    twin = certificate(PASS, machine=of_controller, serial="SN-1")
    assert (twin.serial, twin.firmware_serial, twin.serials_differ) == ("SN-1", "", False)
    assert certificate(PASS, machine=of_controller).serial == ""


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([], "failed"),
        (["pass"], "passed"),
        (["pass", "unproven"], "passed"),
        (["pass", "waived"], "passed_with_waivers"),
        (["waived", "fail"], "failed"),
    ],
)
def test_the_verdict_follows_the_checks(outcomes: list[str], verdict: str) -> None:
    checks = [check(f"a.{number}", CheckOutcome(outcome)) for number, outcome in enumerate(outcomes)]
    assert certificate(*checks).verdict == verdict


def test_the_verdict_follows_the_measurements() -> None:
    assert certificate(PASS, measured=(bench(40, 10),)).verdict == "passed"
    slow = bench(40, 9.99)
    assert certificate(PASS, measured=(slow,)).verdict == "failed"
    waived = certificate(PASS, measured=(slow,), waivers=(FLOOR,))
    assert waived.verdict == "passed_with_waivers"
    assert [one.needed for one in waived.waivers] == [True]
    assert certificate(PASS, measured=(bench(40, stopped="110 °C"),)).verdict == "failed"


def test_a_verdict_that_was_written_over_is_no_certificate() -> None:
    signed = to_json(everything())
    assert to_json(from_json(signed)) == signed
    with pytest.raises(ValueError, match="comes to 'failed'"):
        from_json(signed.replace(b'"verdict": "failed"', b'"verdict": "passed"'))


def test_what_was_not_measured_or_measured_before_is_told_as_not_proven() -> None:
    told = {gap.what: gap.reason for gap in certificate(PASS, machine=TWIN, ran=()).unproven}
    assert told["bench"] == "it was not run: ./invoke bench"
    assert told["burnin"] == "it was not run: ./invoke burnin"
    assert {gap.what: gap.reason for gap in certificate(PASS).unproven}["kernel"] == "no tool"

    anew = RECEIPT.model_copy(update={"provisioned_at": "2026-11-01T09:00:01Z"})
    old = certificate(PASS, machine=TWIN, receipt=anew, measured=(bench(40),))
    assert old.measurements == ()
    assert {gap.what: gap.reason for gap in old.unproven}["bench"] == (
        f"the run of {MEASURED} is older than what stands on the box"
    )
    fresh = certificate(PASS, measured=(bench(40),))
    assert "bench" not in {gap.what for gap in fresh.unproven}
    assert {gap.what: gap.reason for gap in fresh.unproven}["bench: power"] == "no card answers"
    assert "receipt" in {gap.what for gap in certificate(PASS, receipt=None).unproven}


def ran(told: Certificate) -> dict[str, tuple[str, str]]:
    return {one.id: (one.outcome.value, one.evidence) for one in told.checks if one.id.endswith(".ran")}


def test_a_real_box_that_nobody_measured_or_burned_in_has_failed_unless_that_is_waived_by_name() -> None:
    cold = certificate(PASS, ran=(), profile="lab")
    assert cold.verdict == "failed"
    assert ran(cold) == {kind + ".ran": ("fail", f"it was not run: ./invoke {kind}") for kind in ("bench", "burnin")}
    assert {"bench", "burnin"}.isdisjoint(gap.what for gap in cold.unproven)
    accepted = tuple(
        Waiver(check=f"{kind}.ran", by="Ada", reason="burned in by the maker") for kind in ("bench", "burnin")
    )
    waived = certificate(PASS, ran=(), profile="lab", waivers=accepted)
    assert (waived.verdict, [one.needed for one in waived.waivers]) == ("passed_with_waivers", [True, True])
    assert certificate(PASS, profile="lab", waivers=accepted).verdict == "passed"
    assert set(ran(certificate(PASS))) == {"burnin.ran"}  # what does not serve cannot be measured

    anew = RECEIPT.model_copy(update={"provisioned_at": "2026-11-01T09:00:01Z"})
    assert "older than what stands" in ran(certificate(PASS, receipt=anew))["burnin.ran"][1]
    assert ran(certificate(PASS, machine=TWIN, ran=())) == {}


def test_a_burn_in_that_left_the_cards_out_is_not_whole() -> None:
    def loaded(parts: str) -> Certificate:
        burned = bench(40, kind="burnin", series=(GOOD,), conditions={"parts": parts})
        return certificate(PASS, measured=(burned,))

    assert loaded("cpu, memory, disk, network, gpu").verdict == "passed"
    without = loaded("cpu, memory, disk, network")
    assert ran(without)["burnin.ran"] == ("fail", f"the run of {MEASURED} left out gpu")


def test_waivers_tell_whether_they_are_needed() -> None:
    told = {one.check: (one.by, one.needed) for one in everything().waivers}
    assert told == {"pcie.width": ("Ada Lovelace", True), "engine.numa": ("Bob", False)}
    elsewhere = RIDER.model_copy(update={"hosts": ("box-2",)})
    assert certificate(PASS, waivers=()).waivers == ()
    assert not elsewhere.covers("pcie.width", "box-1")
