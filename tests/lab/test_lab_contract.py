"""The wrong machine is refused before anything on it is changed, by the very words that a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.model.hardware import Accelerator, Hardware
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

RIGHT = load_profile("8x4090").hardware
(CARD,) = RIGHT.accelerators
NO_OTHER = "wanted 8 x GeForce RTX 4090 and no other card"
ONE_SHORT = "accelerators.count: found 7 x GeForce RTX 4090, wanted 8 x GeForce RTX 4090"


def with_cards(*cards: Accelerator) -> Hardware:
    return RIGHT.model_copy(update={"accelerators": cards})


def cards(count: int, **changes: object) -> Accelerator:
    return CARD.model_copy(update={"count": count, **changes})


MACHINES = {
    "right": RIGHT,
    "seven": with_cards(cards(7)),
    "narrow": with_cards(cards(7), cards(1, pcie_width=8)),
    "mixed": with_cards(cards(7), cards(1, name="GeForce RTX 4090 D", pci_id="10de:2685")),
    "volta": load_profile("1xv100").hardware,
    "starved": RIGHT.model_copy(update={"memory_gib": 256.0, "dimms": None}),
}
# The slot of the eighth card: the eighth device of bus 128, after four on the first node.
WORDS = {
    "seven": ONE_SHORT,
    "narrow": "pcie.width: found 0000:83:00.0 at x8, wanted x16 for every GeForce RTX 4090",
    "mixed": f"accelerators.kind: found 1 x GeForce RTX 4090 D (10de:2685), {NO_OTHER}; {ONE_SHORT}",
    "volta": f"accelerators.kind: found 1 x Tesla V100 PCIe 32GB (10de:1db6), {NO_OTHER}; "
    "accelerators.count: found 0 x GeForce RTX 4090, wanted 8 x GeForce RTX 4090; "
    "memory.size: found 64 GiB, wanted 512 GiB",
    "starved": "memory.size: found 256 GiB, wanted 512 GiB",
}


@dataclass(frozen=True)
class Floor:
    """Six machines on a bench, of which one is what was ordered."""

    twins: dict[str, RunningTwin]
    folder: Path

    def site(self, *names: str, waivers: str = "[]") -> str:
        """A site of real machines, as far as it knows."""
        path = self.folder / f"{'-'.join(names)}.yml"
        hosts = "".join(f"  - {{name: {name}, address: {self.twins[name].address}}}\n" for name in names)
        any_twin = next(iter(self.twins.values()))
        ssh = f"ssh: {{key: {any_twin.key}, known_hosts: {any_twin.known_hosts}, connect_timeout_s: 5}}\n"
        path.write_text(f"name: floor\nhosts:\n{hosts}{ssh}waivers: {waivers}\n")
        return str(path)

    def ask(self, name: str, command: str) -> str:
        twin = self.twins[name]
        return check(Endpoint(name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 5), command)


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with fresh_lab("test-contract") as lab:
        twins = lab.up([TwinSpec(name, "debian-12", hardware) for name, hardware in MACHINES.items()])
        yield Floor({twin.name: twin for twin in twins}, tmp_path_factory.mktemp("floor"))


def refused(ran: Ran) -> dict[str, str]:
    return {
        error["where"]: error["message"] for error in ran.kind("error") if "this machine is not" in error["message"]
    }


def test_wrong_machines_are_refused_and_the_right_one_goes_on(floor: Floor, boxwright: Boxwright) -> None:
    before = {name: floor.ask(name, "find /etc -newer /etc/hostname | sort") for name in WORDS}
    site = floor.site(*MACHINES)
    ran = boxwright("provision", "--profile", "8x4090", "--site", site, "--yes", "--stages", "kernel")
    assert ran.code == Exit.PARTIAL, ran.text[-3000:]
    assert refused(ran) == {name: f"this machine is not a 8x4090: {words}" for name, words in WORDS.items()}
    assert {line["host"] for line in ran.kind("stage")} == {"right"}
    assert before == {name: floor.ask(name, "find /etc -newer /etc/hostname | sort") for name in WORDS}
    unproven = {line["check"] for line in ran.kind("contract") if line["verdict"] == "unproven"}
    assert unproven == {"disk.size", "nics.count"}  # twins, though the site does not say so


def test_plan_says_it_before_anything_is_planned(floor: Floor, boxwright: Boxwright) -> None:
    ran = boxwright("plan", "--profile", "8x4090", "--site", floor.site("narrow"))
    assert ran.code == Exit.ERROR
    assert refused(ran) == {"narrow": f"this machine is not a 8x4090: {WORDS['narrow']}"}
    assert not ran.kind("event")
    (error,) = ran.kind("error")
    assert "Reseat the card or its riser" in error["hint"]
    assert "waivers" in error["hint"]


def test_a_named_person_may_set_a_check_aside_and_every_report_says_so(floor: Floor, boxwright: Boxwright) -> None:
    waiver = "[{check: pcie.width, by: Ada, reason: the riser is on its way, hosts: [narrow]}]"
    site = floor.site("narrow", waivers=waiver)
    words = ("provision", "--profile", "8x4090", "--site", site, "--yes", "--stages", "kernel")
    ran = boxwright(*words)
    assert ran.code == Exit.OK, ran.text[-3000:]
    (line,) = (line for line in ran.kind("contract") if line["check"] == "pcie.width")
    assert (line["verdict"], line["remark"]) == ("waived", "Ada: the riser is on its way")
    assert '"by": "Ada"' in floor.ask("narrow", "cat /etc/boxwright/receipt.json")


@pytest.mark.parametrize(
    ("waiver", "message"),
    [
        ("[{check: pcie.with, by: Ada, reason: because it is}]", "Did you mean 'pcie.width'?"),
        ("[{check: pcie.width, by: Ada}]", "the key 'waivers.0.reason' is missing"),
        ("[{check: pcie.width, by: '', reason: because it is}]", "waivers.0.by"),
        ("[{check: pcie.width, by: Ada, reason: because it is, hosts: [wide]}]", "the site has no such host"),
    ],
)
def test_a_waiver_without_name_reason_or_host_is_refused(
    floor: Floor, boxwright: Boxwright, waiver: str, message: str
) -> None:
    ran = boxwright("plan", "--profile", "8x4090", "--site", floor.site("narrow", waivers=waiver))
    assert ran.code == Exit.BAD_INPUT
    assert message in ran.text


def test_a_twin_looks_like_its_profile_to_the_real_tools(floor: Floor) -> None:
    assert floor.ask("right", "lspci -n | grep -c '0300: 10de:2684'").strip() == "8"
    assert "NUMA node(s):" in floor.ask("right", "lscpu")
    assert "available: 2 nodes (0-1)" in floor.ask("right", "numactl -H")
    assert floor.ask("right", "grep MemTotal /proc/meminfo").split()[1] == str(512 * 1024 * 1024)
    modules = floor.ask("right", "dmidecode -t memory")
    assert modules.count("Size: 32 GB") == 16
    assert "SIMULATED" in modules
