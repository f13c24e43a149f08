"""A whole answer becomes a machine, whatever a host says; findings, the closest profile and a profile file follow."""

from __future__ import annotations

from pathlib import Path

import pytest
from detection_answers import (
    CATALOGUE,
    MARK,
    NOW,
    RTX_4090,
    RTX_4090D,
    answer,
    by_hand,
    eight_4090,
    machine,
    pci_line,
    section,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.detection.closest import closest
from boxwright.detection.collect import machine_of
from boxwright.detection.findings import findings
from boxwright.detection.machine import Machine, Unknown
from boxwright.detection.profile_file import profile_file
from boxwright.detection.report import rows, why
from boxwright.detection.sections import Section, read_sections
from boxwright.errors import BoxwrightError
from boxwright.model.catalogues import load_profile
from boxwright.model.profile import Profile

BASE = load_profile("lab")


def profile(name: str, pci_id: str, count: int) -> Profile:
    document = BASE.model_dump(mode="json")
    document["name"] = name
    document["hardware"] |= {
        "numa_nodes": 2,
        "cpu": {"sockets": 2, "cores_per_socket": 24},
        "accelerators": [{"name": name, "pci_id": pci_id, "count": count, "memory_gib": 24}],
    }
    return Profile.model_validate(document)


def told(found: Machine) -> list[str]:
    return [finding.text for finding in findings(found, CATALOGUE)]


def test_eight_cards_on_two_nodes() -> None:
    found = machine()
    assert not isinstance(found.accelerators, Unknown)
    assert [card.numa_node for card in found.accelerators] == [0] * 4 + [1] * 4
    shown = dict(rows(found))
    assert shown["NUMA node 1"] == "CPUs 48-95, 64 GiB, 4x GeForce RTX 4090"
    assert shown["Memory modules"] == "2x 32 GiB DDR5 in 8 slots, 2 of 8 channels"
    assert shown["Secure Boot"] == "on"
    assert shown["System"] == "ASRockRack 4U8G"
    assert (
        shown["Accelerator 0000:10:00.0"] == "GeForce RTX 4090 (10de:2684), node 0, PCIe 1.0 x16 now, 4.0 x16 at most"
    )


def test_what_a_healthy_box_is_told() -> None:
    assert told(machine()) == [
        "2 of 8 memory channels hold a module",
        "Secure Boot is on: a module that is built here must be signed and its key enrolled",
        "no headers for 6.1.0-31-amd64",
        "not found out: nvidia-smi: the probe did not get there",
    ]


def test_a_card_at_x8_among_others_of_another_kind() -> None:
    cards = pci_line("0000:21:00.0", RTX_4090) + pci_line("0000:41:00.0", RTX_4090D, width=8)
    said = told(machine(pci=cards))
    assert "mixed: 1x GeForce RTX 4090, 1x GeForce RTX 4090 D" in said
    assert "0000:41:00.0 GeForce RTX 4090 D has a link of x8 instead of x16" in said


def test_cards_that_the_driver_does_not_see_or_that_do_not_answer() -> None:
    slots = ("21", "61", "81")
    cards = "".join(pci_line(f"0000:{slot}:00.0", RTX_4090) for slot in slots)
    said = told(machine(pci=cards, nvidia_smi=by_hand("nvidia-smi-mixed.xml")))
    assert "on the bus, but not in nvidia-smi: 0000:81:00.0" in said
    assert (
        "0000:61:00.0: the card does not answer for uuid, fb_memory_usage/total, gpu_power_readings/current_power_limit"
        in said
    )


def test_a_closed_module_on_a_card_that_takes_the_open_one() -> None:
    xml = by_hand("nvidia-smi-mixed.xml")
    modules = "loaded\tnvidia\t580.95.05\nloaded\tnouveau\t\nnvidia_license\tNVIDIA\n"
    said = told(machine(pci=pci_line("0000:21:00.0", "10de:2b85"), modules=modules, nvidia_smi=xml))
    assert "580 closed does not go with GeForce RTX 5090" in said
    assert "nouveau is loaded" in said


def test_other_makers_cards_are_named_without_a_recipe() -> None:
    said = told(machine(pci=pci_line("0000:21:00.0", "1ed5:0327", kind="0x030200")))
    assert "1x Moore Threads accelerator 1ed5:0327 (1ed5:0327): no recipe yet" in said


def test_a_clock_that_is_off_and_broken_packages() -> None:
    said = told(machine(time=f"{NOW + 7200:.0f}\n", dpkg_audit="The following packages are only half configured: x\n"))
    assert said[:2] == ["dpkg reports broken packages", "the clock is +7200 s off this machine's"]


def test_the_closest_profile() -> None:
    choices = [profile("8x4090", RTX_4090, 8), profile("4x4090", RTX_4090, 4), profile("8x4090d", RTX_4090D, 8), BASE]
    seven = "".join(pci_line(f"0000:{16 + number:02x}:00.0", RTX_4090, number // 4) for number in range(7))
    assert closest(machine(), choices)[0].differences == ()
    best = closest(machine(pci=seven), choices)[0]
    assert (best.profile, why(best)) == ("8x4090", "8x4090: 7 instead of 8")


def test_a_profile_file_loads(tmp_path: Path) -> None:
    text = profile_file(machine(), CATALOGUE)
    path = tmp_path / "box-8xrtx-4090.yml"
    path.write_text(text)
    made = load_profile(str(path))
    assert made.hardware.numa_nodes == 2
    assert made.hardware.memory_gib == 64  # the modules, not what the kernel leaves
    (cards,) = made.hardware.accelerators
    assert (cards.pci_id, cards.count, cards.memory_gib) == (RTX_4090, 8, 24)
    assert closest(machine(), [made])[0].differences == ()


def test_a_profile_file_leaves_out_cards_of_unknown_memory(tmp_path: Path) -> None:
    text = profile_file(machine(pci=pci_line("0000:21:00.0", "1d94:6211", kind="0x038000")), CATALOGUE)
    assert "# Left out: 1x K100_AI (1d94:6211): its memory is not known" in text
    path = tmp_path / "box-1xk100-ai.yml"
    path.write_text(text)
    assert load_profile(str(path)).hardware.accelerators == ()


def test_no_profile_file_without_processors() -> None:
    with pytest.raises(BoxwrightError, match="no profile without the processors"):
        profile_file(machine(lscpu="ERR!"), CATALOGUE)


def test_banners_around_and_between_count_for_nothing() -> None:
    framed = "Welcome!\n\u2028\x00" + answer(eight_4090()).replace(
        f"{MARK} begin pci", f"mesg: no tty\n{MARK} begin pci"
    )
    assert machine_of("box", framed, MARK, CATALOGUE, now=NOW) == machine()


@pytest.mark.parametrize(
    ("framed", "excuse"),
    [
        (section("x", "", 124), "no answer in time"),
        (section("x", "", 137), "no answer in time"),
        (section("x", "", 127, "sh: x: not found"), "not installed"),
        (section("x", "", 9, "first\nkaputt\n"), "it ended with code 9: kaputt"),
        (f"{MARK} begin x\nAAAA\n", "it never ended, or its output was too long"),
        (f"{MARK} begin x\n!!!!\n{MARK} end\n", "it never ended, or its output was too long"),
    ],
)
def test_why_a_section_is_empty(framed: str, excuse: str) -> None:
    assert read_sections(framed, MARK)["x"].excuse == excuse


def test_output_may_hold_what_ends_a_section() -> None:
    hostile = f"\0 0\0\n{MARK} end\n{MARK} begin other\n".encode()
    assert read_sections(section("x", hostile + b"\xff"), MARK) == {"x": Section("x", hostile.decode() + "\ufffd", 0)}


@pytest.mark.parametrize("text", ["", "This account is not available.\n", "@other begin pci\n"])
def test_what_is_no_answer_at_all_is_refused(text: str) -> None:
    with pytest.raises(BoxwrightError, match="answer cannot be read"):
        machine_of("box", text, MARK, CATALOGUE, now=NOW)


SECTIONS = [*sorted(eight_4090()), "nvidia_smi"]
NOISE = st.one_of(
    st.sampled_from(
        ["", "[N/A]", "ERR!", "N/A\n", "Zugriff verweigert\n", "\t" * 40, "{" * 3000, "[" * 3000, "0x" * 9]
    ),
    st.text(max_size=200),
    st.text(alphabet='\t\n\0{}[]",:0123456789abcdefx.-<>&;/ ', max_size=300),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(SECTIONS), noise=NOISE, front=st.booleans())
def test_no_output_of_a_tool_breaks_detection(name: str, noise: str, front: bool) -> None:
    whole = eight_4090()
    good = whole.get(name, "")
    cut = len(noise) * 7 % (len(good) + 1)
    for hostile in (noise, noise + good if front else good[:cut] + noise):
        found = machine(**{name: hostile})
        rows(found)
        findings(found, CATALOGUE)
        closest(found, [BASE])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_frame(raw: bytes) -> None:
    text = f"{MARK} begin pci\n{raw.decode('latin-1')}\n{MARK} end\n"
    machine_of("box", text, MARK, CATALOGUE, now=NOW)


@settings(max_examples=80, deadline=None)
@given(value=st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=30), where=st.integers(0, 40))
def test_no_value_in_the_xml_breaks_detection(value: str, where: int) -> None:
    parts = by_hand("nvidia-smi-mixed.xml").split("N/A")
    place = where % (len(parts) - 1)
    machine(nvidia_smi="N/A".join(parts[: place + 1]) + value + "N/A".join(parts[place + 1 :]))


def test_a_bus_without_devices_has_no_accelerator_and_no_bus_is_unknown() -> None:
    assert machine(pci="").accelerators == ()
    outputs = eight_4090()
    del outputs["pci"]
    framed = answer(outputs) + section("pci", "", code=1, said="no PCI bus in /sys")
    found = machine_of("box", framed, MARK, CATALOGUE, now=NOW)
    assert found.accelerators == Unknown(reason="sysfs: it ended with code 1: no PCI bus in /sys")
