"""The machine's contract as checks, and what checks mean for the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from targets import target

from boxwright.detection.contract import Result, Verdict
from boxwright.errors import Exit
from boxwright.model.contract import ContractCheck, Waiver
from boxwright.model.variables import named
from boxwright.planning.variables import role_variables
from boxwright.provisioning.acceptance import contract_checks, exit_code, verify_job
from boxwright.signing import SigningKey
from boxwright.verification import Check, CheckOutcome
from boxwright.verification.check import Severity


def result(verdict: Verdict, *, check: ContractCheck = "pcie.width", waiver: str = "") -> Result:
    return Result(check, verdict, f"found-{verdict}", "wanted", "Reseat it.", waiver)


def told(*results: Result, twin: bool = False) -> Check:
    (check,) = contract_checks("box", results, twin=twin)
    return check


@pytest.mark.parametrize("name", get_args(ContractCheck))
def test_every_check_of_the_contract_has_a_promise_in_words(name: ContractCheck) -> None:
    check = told(result("ok", check=name))
    assert check.id == f"contract.{name}"
    assert len(check.title.split()) > 3


@pytest.mark.parametrize(
    ("verdict", "outcome", "severity"),
    [
        ("ok", CheckOutcome.PASS, Severity.MAJOR),
        ("warning", CheckOutcome.FAIL, Severity.MAJOR),
        ("refused", CheckOutcome.FAIL, Severity.CRITICAL),
    ],
)
def test_what_a_verdict_becomes(verdict: Verdict, outcome: CheckOutcome, severity: Severity) -> None:
    check = told(result(verdict))
    assert (check.outcome, check.severity, check.host) == (outcome, severity, "box")
    assert check.evidence == f"found-{verdict}; wanted wanted"
    assert check.remedy == "Reseat it."


def test_what_cannot_be_proven_of_a_real_machine_has_failed_and_of_a_twin_is_unproven() -> None:
    real = told(result("unproven"))
    assert real.outcome is CheckOutcome.FAIL
    assert real.evidence == "it could not be proven: found-unproven; wanted wanted"
    of_twin = told(result("unproven"), twin=True)
    assert (of_twin.outcome, of_twin.evidence) == (CheckOutcome.UNPROVEN, "found-unproven; wanted wanted")


def test_no_verdict_is_without_an_outcome() -> None:
    assert len(contract_checks("box", [result(verdict) for verdict in get_args(Verdict)])) == 1


def test_a_waiver_names_who_gave_it_and_what_was_found() -> None:
    check = told(result("waived", waiver="Ada: the riser is on its way"))
    assert check.outcome is CheckOutcome.WAIVED
    assert check.evidence == "waived by Ada: the riser is on its way (found-waived; wanted wanted)"


@pytest.mark.parametrize(
    ("verdicts", "kept"),
    [
        (("ok", "refused"), "refused"),
        (("refused", "ok"), "refused"),
        (("unproven", "refused"), "refused"),
        (("waived", "warning"), "warning"),
        (("ok", "unproven"), "unproven"),
        (("waived", "unproven"), "waived"),
    ],
)
def test_of_two_kinds_of_cards_the_worse_is_told(verdicts: tuple[Verdict, ...], kept: Verdict) -> None:
    assert told(*map(result, verdicts), twin=True).evidence.startswith(f"found-{kept}")


def test_one_failed_check_fails_a_verification_and_no_check_does_too() -> None:
    passed, unproven, failed = (told(result(verdict), twin=True) for verdict in ("ok", "unproven", "warning"))
    assert exit_code([passed, unproven]) is Exit.OK
    assert exit_code([passed, failed]) is Exit.VERIFY_FAILED
    assert exit_code([]) is Exit.VERIFY_FAILED


def test_only_the_hosts_that_were_asked_for_are_verified() -> None:
    whole = target("box-1", "box-2")
    assert [host.name for host in verify_job(whole, {"box-2"}).hosts] == ["box-2"]


@pytest.mark.parametrize(("site", "name"), [({}, "box-1"), ({"keep_hostnames": True}, None)])
def test_a_machine_is_called_as_the_site_says_unless_it_keeps_its_name(site: dict[str, bool], name: str | None) -> None:
    whole = target("box-1", **site)
    (told,) = verify_job(whole, {"box-1"}).hosts
    base, *_ = role_variables(whole.fleet, whole.fleet.hosts[0], whole.secrets["box-1"], (), None)
    assert told.hostname == named(base)["base_hostname"] == name


def test_evidence_counts_by_this_controllers_key_and_by_those_of_the_site(own_places: Path) -> None:
    assert verify_job(target("box-1"), {"box-1"}).signers == ()
    assert not (own_places / "signing").exists()  # to ask makes no key
    own, other = SigningKey.kept_in(own_places / "signing").public.fingerprint, f"SHA256:{'a' * 43}"
    assert verify_job(target("box-1", evidence_signers=(other,)), {"box-1"}).signers == (own, other)


def test_a_box_whose_engine_has_no_deploy_says_so() -> None:
    (served,) = verify_job(target("box-1"), {"box-1"}).hosts
    (bare,) = verify_job(target("box-1", profile="8x4090"), {"box-1"}).hosts
    assert served.without_stack == ""
    assert bare.without_stack == (
        "deepseek-r1-distill-llama-70b/bf16 is not fetched: no digests of its files are pinned (./invoke models.pin)"
    )


def test_a_host_is_verified_with_the_waivers_that_cover_it() -> None:
    why = {"by": "Ada", "reason": "because it is"}
    waivers = (
        Waiver(check="engine.stream", **why),
        Waiver(check="platform.journal", hosts=("box-2",), **why),
        Waiver(check="memory.size", **why),  # of the contract, which tells it itself
        Waiver(check="bench.throughput", **why),
    )
    first, second = verify_job(target("box-1", "box-2", waivers=waivers), {"box-1", "box-2"}).hosts
    assert first.waivers == {"engine.stream": "Ada: because it is"}
    assert set(second.waivers) == {"engine.stream", "platform.journal"}
