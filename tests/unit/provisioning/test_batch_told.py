"""What a run over several machines says last: which of them are ready."""

from __future__ import annotations

import io
import json

from targets import target

from boxwright.console import Console
from boxwright.errors import BoxwrightError
from boxwright.provisioning.handing_over import failed_checks, tell_batch
from boxwright.provisioning.outcome import HostOutcome
from boxwright.verification import Check
from boxwright.verification.check import CheckOutcome, Severity


def a_check(host: str, name: str, outcome: CheckOutcome) -> Check:
    return Check(host=host, id=name, title=name, severity=Severity.MAJOR, outcome=outcome, remedy="", evidence="")


OUTCOMES = [HostOutcome("a"), HostOutcome("b"), HostOutcome("c", error=BoxwrightError("No space left\non device"))]
CHECKS = [
    a_check("a", "gateway.tls", CheckOutcome.PASS),
    a_check("b", "gateway.tls", CheckOutcome.FAIL),
    a_check("b", "exposure.ports", CheckOutcome.FAIL),
    a_check("b", "cards.gpu", CheckOutcome.UNPROVEN),
]


def told(outcomes: list[HostOutcome], checks: list[Check], *, as_json: bool = False) -> str:
    out = io.StringIO()
    fleet = target(*(one.host for one in outcomes)).fleet
    hosts = tuple(host.model_copy(update={"serial": f"SN-{host.name}"}) for host in fleet.site.hosts)
    fleet = fleet.model_copy(update={"site": fleet.site.model_copy(update={"hosts": hosts})})
    tell_batch(Console(stdout=out, json=as_json), fleet, outcomes, checks)
    return out.getvalue()


def test_each_machine_that_is_not_ready_is_named_with_its_serial_number_and_why() -> None:
    assert told(OUTCOMES, CHECKS).splitlines() == [
        "warning: 1 of 3 machines is ready.",
        "  c  SN-c  No space left on device",
        "  b  SN-b  2 checks failed: gateway.tls, exposure.ports",
    ]
    assert json.loads(told(OUTCOMES, CHECKS, as_json=True).splitlines()[0]) == {
        "type": "batch",
        "ready": ["a"],
        "not_ready": {"c": "No space left\non device", "b": "2 checks failed: gateway.tls, exposure.ports"},
    }


def test_a_whole_batch_and_one_machine() -> None:
    assert told(OUTCOMES[:2], CHECKS[:1]) == "✓ 2 of 2 machines are ready.\n"
    assert told(OUTCOMES[:1], CHECKS[:1]) == ""
    assert failed_checks(CHECKS) == {"b": ["gateway.tls", "exposure.ports"]}
