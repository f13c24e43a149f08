"""Whole boxes with vLLM on processors, by the verbs: one machine, a pair of them, and what is said of a lost node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lab_command import Boxwright
from model_switching import Visitor, add_models
from test_lab_provision import SNAPSHOT, changed, on_twin

from boxwright.errors import Exit

# Some gigabytes of wheels for each machine, and many minutes: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3600)]

BOX = pytest.mark.parametrize("twin_site", [("test-vllm-box", "debian-13")], indirect=True, ids=["13"])
PAIR = pytest.mark.parametrize("twin_site", [("test-vllm-pair", "debian-13")], indirect=True, ids=["13"])
STATE = SNAPSHOT.replace("llama-server", "vllm")
HEAD, OTHER = 0, 1


@pytest.fixture
def patient(boxwright: Boxwright) -> Boxwright:
    """The command, given time for what vLLM's packages take."""
    return replace(boxwright, patience_s=1700)


@BOX
def test_a_box_with_vllm_is_verified_and_then_left_alone(patient: Boxwright, twin_site: str) -> None:
    words = ("provision", "--profile", "lab-vllm", "--site", twin_site, "--yes")
    first = patient(*words)
    assert first.failed_on_hosts == {}
    assert first.code == Exit.OK, first.text[-4000:]
    results = {line["id"]: line["result"] for line in first.kind("check")}
    for name in ("engine.model", "engine.stream", "engine.chat_by_key", "chat_page.chat", "monitoring.targets"):
        assert results.get(name) == "pass", (name, results)

    before = on_twin(patient, twin_site, STATE)
    second = patient(*words)
    assert second.code == Exit.OK, second.text[-4000:]
    assert changed(second) == []
    assert on_twin(patient, twin_site, STATE) == before


@BOX
def test_another_model_takes_over_and_nobody_meets_an_error_of_the_engine(
    patient: Boxwright, twin_site: str, tmp_path: Path
) -> None:
    """vLLM lets answers end that are under way, and would answer 500 to new requests meanwhile."""
    add_models(Path(twin_site), tmp_path)
    words, place = ("--profile", "lab-vllm", "--site", twin_site), Path(patient.environment["BOXWRIGHT_STATE"])
    (secret,) = patient("secrets.show", "--site", twin_site, "--name", "api_key").kind("secret")
    (twin,) = patient("lab.status", "--site", twin_site).kind("twin")
    authority = place / "sites/test-vllm-box/test-vllm-box-1-ca.crt"
    with Visitor(twin["address"], authority, secret["value"], "smollm2-135m-instruct", most_tokens=1500) as visitor:
        switched = patient("models.switch", *words, "--model", "again", "--yes")
    assert switched.code == Exit.OK, switched.text[-3000:]
    assert switched.failed_on_hosts == {}
    served = [reply.json()["data"][0]["id"] for reply in visitor.replies if reply.is_success]
    assert (served[0], served[-1]) == ("smollm2-135m-instruct", "again")
    away = [reply for reply in visitor.replies if not reply.is_success]
    assert {(reply.status_code, reply.headers["Retry-After"]) for reply in away} == {(503, "10")}
    assert {reply.json()["error"]["code"] for reply in away} == {"engine_unavailable"}
    # What was under way ended whole, or was told to be cut.
    assert visitor.cut is not None
    assert visitor.cut.status_code in (200, 503)
    assert visitor.stream[-1] in ("data: [DONE]", "closed")
    assert visitor.pages == {200}


@PAIR
def test_a_pair_is_one_box_and_a_lost_node_is_told_by_name(patient: Boxwright, twin_site: str) -> None:
    words = ("--profile", "lab-vllm-pair", "--site", twin_site)
    first = patient("provision", *words, "--yes")
    assert first.failed_on_hosts == {}
    assert first.code == Exit.OK, first.text[-4000:]
    assert {line["host"] for line in first.kind("check")} == {"test-vllm-pair-1", "test-vllm-pair-2"}
    before = [on_twin(patient, twin_site, STATE, number) for number in (HEAD, OTHER)]
    second = patient("provision", *words, "--yes")
    assert second.code == Exit.OK, second.text[-4000:]
    assert changed(second) == []
    assert [on_twin(patient, twin_site, STATE, number) for number in (HEAD, OTHER)] == before

    # The engine of the other node ends: the head has no engine either, and both are named.
    on_twin(patient, twin_site, "systemctl stop vllm; sleep 30", OTHER)
    ran = patient("verify", *words)
    assert ran.code == Exit.VERIFY_FAILED, ran.text[-4000:]
    failed = ran.failed_on_hosts
    assert ("test-vllm-pair-2", "services.active") in failed, failed
    assert {check for host, check in failed if host == "test-vllm-pair-1"} & {"engine.model", "engine.stream"}, failed
    assert_that_a_provision_mends(patient, words)

    # The other machine is gone altogether.
    on_twin(patient, twin_site, "systemd-run --quiet --on-active=1 systemctl poweroff --force", OTHER)
    ran = patient("verify", *words)
    assert ran.code not in (Exit.OK, Exit.BAD_INPUT), ran.text[-4000:]
    assert "test-vllm-pair-2" in ran.text
    assert "test-vllm-pair-1" in {host for host, _ in ran.failed_on_hosts}, ran.text[-4000:]
    assert_that_a_provision_mends(patient, words)


def assert_that_a_provision_mends(patient: Boxwright, words: tuple[str, ...]) -> None:
    ran = patient("provision", *words, "--yes")
    assert ran.failed_on_hosts == {}
    assert ran.code == Exit.OK, ran.text[-4000:]
    assert {line["host"] for line in ran.kind("check")} == {"test-vllm-pair-1", "test-vllm-pair-2"}
