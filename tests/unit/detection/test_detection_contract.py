"""A machine against its contract: what is refused, what is warned of, what a named person set aside."""

from __future__ import annotations

import pytest
from detection_answers import RTX_4090, RTX_4090D, V100, eight_4090, machine, pci_line

from boxwright.detection.contract import Result, judge
from boxwright.model.catalogues import load_profile, profile_names
from boxwright.model.contract import Waiver
from boxwright.model.hardware import Dimms, Hardware
from boxwright.provisioning.contract import refusal

WANTED = load_profile("8x4090").hardware.model_copy(
    update={"memory_gib": 128, "dimms": Dimms(count=16, gib=8, channels_per_socket=8), "disk_gib": 1, "nics": ()}
)


def cards(*lines: str) -> dict[str, str]:
    return {"pci": "".join(lines)}


def eight(**changed: str) -> list[str]:
    lines = [pci_line(f"0000:{16 + number:02x}:00.0", RTX_4090, number // 4) for number in range(8)]
    for place, line in changed.items():
        lines[int(place.removeprefix("card"))] = line
    return lines


def failed(results: tuple[Result, ...]) -> dict[str, str]:
    return {result.check: result.verdict for result in results if result.verdict != "ok"}


def message(**changes: str) -> str:
    error = refusal("8x4090", "box", judge(machine(**changes), WANTED))
    return error.message if error else ""


def test_the_right_machine_is_taken_and_its_empty_channels_are_warned_of() -> None:
    assert failed(judge(machine(), WANTED)) == {"memory.channels": "warning", "cpu.cores": "warning"}
    assert not message()


def test_a_missing_card_is_refused() -> None:
    assert message(**cards(*eight()[:7])) == (
        "this machine is not a 8x4090: accelerators.count: found 7 x GeForce RTX 4090, wanted 8 x GeForce RTX 4090"
    )


def test_a_processor_without_a_wanted_instruction_set_is_refused() -> None:
    wanted = WANTED.model_copy(update={"cpu": WANTED.cpu.model_copy(update={"isa": ("amx_int8",)})})
    error = refusal("8x4090", "box", judge(machine(), wanted))
    assert error is not None
    assert error.message == "this machine is not a 8x4090: cpu.isa: found no amx_int8, wanted amx_int8"


def test_a_narrow_link_is_refused() -> None:
    narrow = pci_line("0000:13:00.0", RTX_4090, 0, width=8)
    assert message(**cards(*eight(card3=narrow))) == (
        "this machine is not a 8x4090: pcie.width: found 0000:13:00.0 at x8, wanted x16 for every GeForce RTX 4090"
    )


def test_another_kind_of_card_among_them_is_refused() -> None:
    other = pci_line("0000:13:00.0", RTX_4090D, 0)
    assert message(**cards(*eight(card3=other))) == (
        "this machine is not a 8x4090: accelerators.kind: found 1 x GeForce RTX 4090 D (10de:2685), "
        "wanted 8 x GeForce RTX 4090 and no other card; "
        "accelerators.count: found 7 x GeForce RTX 4090, wanted 8 x GeForce RTX 4090"
    )


def test_another_box_is_refused() -> None:
    assert message(**cards(pci_line("0000:10:00.0", V100, 0))) == (
        "this machine is not a 8x4090: accelerators.kind: found 1 x Tesla V100 PCIe 32GB (10de:1db6), "
        "wanted 8 x GeForce RTX 4090 and no other card; "
        "accelerators.count: found 0 x GeForce RTX 4090, wanted 8 x GeForce RTX 4090"
    )


def test_a_slow_link_is_warned_of_and_an_idle_one_is_not() -> None:
    slow = pci_line("0000:13:00.0", RTX_4090, 0, speed="8.0 GT/s PCIe")
    found = {result.check: result for result in judge(machine(**cards(*eight(card3=slow))), WANTED)}
    assert found["pcie.generation"].verdict == "warning"
    assert found["pcie.generation"].found == "0000:13:00.0 at most 3"


def test_a_card_without_a_figure_is_unproven_and_hides_no_narrow_one() -> None:
    silent = pci_line("0000:13:00.0", RTX_4090, 0, width=255)
    verdicts = {result.check: result for result in judge(machine(**cards(*eight(card3=silent))), WANTED)}
    assert verdicts["pcie.width"].verdict == "unproven"
    assert verdicts["pcie.width"].found == "no figure for 0000:13:00.0"
    narrow = pci_line("0000:14:00.0", RTX_4090, 1, width=4)
    assert "0000:14:00.0 at x4" in message(**cards(*eight(card3=silent, card4=narrow)))


def test_cards_on_one_node_or_on_none_are_warned_of() -> None:
    for node in (0, -1):
        lines = [pci_line(f"0000:{16 + number:02x}:00.0", RTX_4090, node) for number in range(8)]
        assert failed(judge(machine(**cards(*lines)), WANTED))["accelerators.numa_nodes"] == "warning"


def test_little_memory_and_a_small_disk_are_refused() -> None:
    big = WANTED.model_copy(update={"memory_gib": 256.0, "dimms": None, "disk_gib": 9000.0})
    assert {"memory.size": "refused", "disk.size": "refused"}.items() <= failed(judge(machine(), big)).items()


def test_what_cannot_be_found_out_is_never_taken_for_good() -> None:
    blind = machine(pci="no such thing\n", lscpu="", memory_total="", dmidecode="", df="", lsblk="")
    found = failed(judge(blind, WANTED))
    assert found["accelerators.count"] == found["disk.size"] == "refused"
    assert found["memory.size"] == found["memory.channels"] == found["cpu.cores"] == "warning"


def test_a_waiver_needs_the_right_host_and_names_who_gave_it() -> None:
    seven = machine(**cards(*eight()[:7]))
    waiver = Waiver(check="accelerators.count", by="Ada", reason="the eighth card is on its way", hosts=("box",))
    (waived,) = (one for one in judge(seven, WANTED, [waiver]) if one.check == "accelerators.count")
    assert (waived.verdict, waived.waiver) == ("waived", "Ada: the eighth card is on its way")
    assert refusal("8x4090", "box", judge(seven, WANTED, [waiver])) is None
    elsewhere = waiver.model_copy(update={"hosts": ("other",)})
    assert refusal("8x4090", "box", judge(seven, WANTED, [elsewhere])) is not None


def test_a_twin_proves_nothing_about_its_disk() -> None:
    big = WANTED.model_copy(update={"disk_gib": 9000.0})
    assert failed(judge(machine(twin="yes\n"), big))["disk.size"] == "unproven"


@pytest.mark.parametrize("name", profile_names())
def test_another_profiles_machine_is_refused(name: str) -> None:
    """The recorded box has eight 4090s; every profile with other cards refuses it."""
    wanted: Hardware = load_profile(name).hardware
    same = [(card.pci_id, card.count) for card in wanted.accelerators] in ([("10de:2684", 8)], [])
    refused = {result.check for result in judge(machine(**eight_4090()), wanted) if result.verdict == "refused"}
    assert same or refused & {"accelerators.kind", "accelerators.count"}


SYSTEM = "sys_vendor\tACME\nproduct_name\tBox\nproduct_serial\t{}\n"


@pytest.mark.parametrize(
    ("said", "twin", "verdict"),
    [
        ("SN-1", "", None),
        (" sn-1 ", "", None),
        ("SN-2", "", "refused"),
        ("SN-2", "yes\n", "unproven"),
        ("To be filled by O.E.M.", "", "unproven"),
    ],
)
def test_a_machine_is_held_to_its_serial_number(said: str, twin: str, verdict: str | None) -> None:
    found = machine(system=SYSTEM.format(said), twin=twin)
    assert failed(judge(found, WANTED, serial="SN-1")).get("machine.serial") == verdict
    assert "machine.serial" not in {result.check for result in judge(found, WANTED)}


def test_what_a_real_machine_does_not_tell_can_be_set_aside_by_name_and_a_twin_needs_no_waiver() -> None:
    accepted = Waiver(check="machine.serial", by="Ada", reason="the maker left its number out")
    for twin, verdict in (("", "waived"), ("yes\n", "unproven")):
        found = machine(system=SYSTEM.format("To be filled by O.E.M."), twin=twin)
        (result,) = (one for one in judge(found, WANTED, (accepted,), serial="SN-1") if one.check == "machine.serial")
        assert result.verdict == verdict
