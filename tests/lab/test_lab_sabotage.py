"""What somebody does to a box that was right is caught by the check that is meant for it, and by no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_command import Boxwright, Ran
from sabotages import ALONE, TOGETHER, WITH_PACKAGES, Sabotage

from boxwright.errors import Exit
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1500)]

both = pytest.mark.parametrize(
    "twin_site", [("test-sabotage-12", "debian-12"), ("test-sabotage-13", "debian-13")], indirect=True, ids=["12", "13"]
)
with_cards = pytest.mark.parametrize("twin_site", [("test-sabotage-cards", "debian-12")], indirect=True, ids=["cards"])

_LIMIT_S = 300
SIGN_INS_FORGOTTEN_S = 240  # by Open WebUI, which takes 15 for an address in its window of 180 s, in steps of 60
# Longer than Prometheus takes to call for help, as where a model takes its time to come.
ENGINE_AWAY = f"""\
set -e
systemctl stop llama-server
sleep {SIGN_INS_FORGOTTEN_S}
curl -s http://127.0.0.1:9090/api/v1/alerts | grep -o '"alertname":"TargetDown".*"state":"firing"'
systemctl start llama-server
curl -s --fail --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:8000/health
"""


def endpoint_of(boxwright: Boxwright, site: str) -> Endpoint:
    (twin,) = boxwright("lab.status", "--site", site).kind("twin")
    lab = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", twin["name"].removesuffix("-1"))
    return Endpoint(twin["name"], twin["address"], 22, "root", lab / "id_ed25519", lab / "known_hosts", 10)


@contextmanager
def sabotaged(endpoint: Endpoint, sabotages: Sequence[Sabotage]) -> Iterator[None]:
    """Do them, and undo them in the opposite order whatever comes."""
    done = []
    try:
        for one in sabotages:
            done.append(one)
            check(endpoint, f"set -e\n{one.do}", timeout_s=_LIMIT_S)
        yield
    finally:
        for one in reversed(done):
            check(endpoint, one.undo, timeout_s=_LIMIT_S)


def assert_caught(ran: Ran, sabotages: Sequence[Sabotage]) -> None:
    assert ran.code == Exit.VERIFY_FAILED, ran.text[-3000:]
    found = {line["id"]: (line["result"], line["evidence"]) for line in ran.kind("check")}
    for one in sabotages:
        result, evidence = found[one.check]
        assert result == "fail", f"{one.what}: {one.check} says {result}: {evidence}"
        assert one.says in evidence, f"{one.what}: {one.check} says: {evidence}"
    meant = {one.check for one in sabotages}
    also = tuple(name for one in sabotages for name in one.also)
    surplus = {id: found[id] for id, (result, _) in found.items() if result == "fail" and id not in meant}
    assert not {id: told for id, told in surplus.items() if not id.startswith(also or ("-",))}


@both
def test_a_fresh_box_is_right(boxwright: Boxwright, twin_site: str) -> None:
    ran = boxwright("provision", "--profile", "lab", "--site", twin_site, "--yes")
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert ran.kind("check")
    assert ran.odd_checks == {}
    check(endpoint_of(boxwright, twin_site), "apt-get install -y -qq faketime >/dev/null 2>&1", timeout_s=_LIMIT_S)


@both
@pytest.mark.parametrize(
    "sabotages", [TOGETHER, *((one,) for one in ALONE)], ids=["together", *(a.check for a in ALONE)]
)
def test_each_sabotage_is_caught_by_name(boxwright: Boxwright, twin_site: str, sabotages: tuple[Sabotage, ...]) -> None:
    with sabotaged(endpoint_of(boxwright, twin_site), sabotages):
        ran = boxwright("verify", "--profile", "lab", "--site", twin_site)
    assert_caught(ran, sabotages)


@both
@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["quick", "deep"])
def test_a_box_that_was_mended_is_right_again(boxwright: Boxwright, twin_site: str, deep: tuple[str, ...]) -> None:
    if not deep:  # eight verifications in a row are more sign-ins than a check can wait for
        check(endpoint_of(boxwright, twin_site), ENGINE_AWAY, timeout_s=SIGN_INS_FORGOTTEN_S + 120)
    ran = boxwright("verify", "--profile", "lab", "--site", twin_site, *deep)
    assert ran.odd_checks == {}
    assert ran.code == Exit.OK, ran.text[-3000:]


@with_cards
def test_packages_and_containers_of_a_box_with_cards(boxwright: Boxwright, twin_site: str) -> None:
    words = ("--profile", "8x4090", "--site", twin_site)
    ran = boxwright("provision", *words, "--yes")
    assert ran.code == Exit.OK, ran.text[-3000:]
    endpoint = endpoint_of(boxwright, twin_site)
    check(endpoint, "apt-get install -y -qq busybox-static >/dev/null 2>&1", timeout_s=_LIMIT_S)
    with sabotaged(endpoint, WITH_PACKAGES):
        ran = boxwright("verify", *words)
    assert_caught(ran, WITH_PACKAGES)
    again = boxwright("verify", *words)
    assert {line["id"]: line["evidence"] for line in again.kind("check") if line["result"] == "fail"} == {}
    assert again.code == Exit.OK
