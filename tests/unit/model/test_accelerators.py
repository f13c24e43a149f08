"""The accelerator catalogue loads, every figure has a source, and a PCI id leads to the right board."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.accelerators import AcceleratorCatalogue, DriverRange, Source
from boxwright.model.catalogues import load_accelerators, load_profile, profile_names
from boxwright.model.loading import load

CATALOGUE = load_accelerators()
WITH_RECIPE = {
    *("v100", "a100", "rtx-4090", "rtx-4090d", "rtx-5090", "rtx-5090d", "l40s", "h20-96", "h20-141", "h100", "h200"),
    *("ascend-910b", "k100-ai", "mi300x"),
}

FILE = """\
documents: {{book: {{title: A book, publisher: Somebody}}}}
accelerators:
  - id: one
    vendor: nvidia
    name: One
    variants:
      - {{name: One, pci_ids: ["10de:0001"], source: {{document: {document}, section: "1"}}}}
      - {{name: Two, pci_ids: ["{second}"], source: {{document: book, section: "1"}}}}
"""


def test_the_accelerators_of_the_profiles_have_recipes() -> None:
    assert {one.id for one in CATALOGUE.accelerators if one.recipe} == WITH_RECIPE


def test_every_document_is_used() -> None:
    assert {source.document for source in CATALOGUE.sources()} == set(CATALOGUE.documents)


def test_every_source_says_where() -> None:
    assert all(source.section.strip() for source in CATALOGUE.sources())


@pytest.mark.parametrize(
    ("pci_id", "subsystem", "accelerator", "board"),
    [
        ("10de:2684", "1458:40bf", "rtx-4090", "GeForce RTX 4090"),
        ("10de:2685", "", "rtx-4090d", "GeForce RTX 4090 D"),
        ("10de:2b8c", "", "rtx-5090d", "GeForce RTX 5090 D v2"),
        ("10de:2329", "10de:198b", "h20-96", "H20 96GB"),
        ("10de:232c", "10de:2063", "h20-141", "H20-3e 141GB"),
        ("10de:20b2", "10de:147f", "a100", "A100 SXM4 80GB"),
        ("10de:20b2", "10de:1625", "a100", "A100 PG509-210"),
        ("10de:1db6", "10de:124a", "v100", "Tesla V100 PCIe 32GB"),
        ("19e5:d802", "", "ascend-910b", "Ascend 910B (Atlas A2)"),
        ("1d94:6211", "", "k100-ai", "K100_AI"),
        ("1002:74a1", "", "mi300x", "Instinct MI300X"),
        ("10de:2901", "", "b200", "B200"),
    ],
)
def test_lookup_by_pci_id(pci_id: str, subsystem: str, accelerator: str, board: str) -> None:
    found = CATALOGUE.find(pci_id, subsystem)
    assert found is not None
    assert (found[0].id, found[1].name) == (accelerator, board)


def test_what_is_not_listed_is_not_found() -> None:
    assert CATALOGUE.find("10de:22a3") is None
    assert CATALOGUE.is_switch("10de:22a3")
    assert CATALOGUE.vendor("1ed5") == "Moore Threads"
    assert CATALOGUE.vendor("8086") is None


@pytest.mark.parametrize(
    ("accelerator", "branch", "flavour", "allowed"),
    [
        ("v100", 580, "closed", True),
        ("v100", 580, "open", False),
        ("v100", 620, "closed", False),
        ("rtx-4090", 580, "closed", True),
        ("rtx-4090", 620, "closed", False),
        ("rtx-4090", 620, "open", True),
        ("rtx-4090", 550, "open", False),
        ("rtx-5090", 580, "closed", False),
        ("rtx-5090", 580, "open", True),
    ],
)
def test_driver_ranges(accelerator: str, branch: int, flavour: str, allowed: bool) -> None:
    one = CATALOGUE.get(accelerator)
    assert one is not None
    assert one.driver is not None
    assert one.driver.allows(branch, flavour) is allowed  # type: ignore[arg-type]


def test_a_driver_range_without_ends_allows_every_branch() -> None:
    driver = DriverRange(flavours=("open",), source=Source(document="book", section="1"))
    assert driver.allows(999, "open")


@pytest.mark.parametrize(
    ("document", "second", "message"),
    [
        ("book", "10de:0001", "stands more than once: 10de:0001"),
        ("bok", "10de:0002", "a source names a document that is not listed: bok"),
        ("book", "10DE:0002", "pci_ids"),
    ],
)
def test_a_wrong_catalogue_is_refused(tmp_path: Path, document: str, second: str, message: str) -> None:
    path = tmp_path / "accelerators.yml"
    path.write_text(FILE.format(document=document, second=second))
    with pytest.raises(BadInputError, match=message):
        load(path, AcceleratorCatalogue)


@pytest.mark.parametrize("name", [name for name in profile_names() if name != "lab"])
def test_profiles_and_catalogue_say_the_same_of_a_card(name: str) -> None:
    profile = load_profile(name)
    draw = 0
    for group in profile.hardware.accelerators:
        for pci_id in group.pci_ids:
            found = CATALOGUE.find(pci_id)
            assert found is not None
            card, board = found
            assert card.recipe
            assert board.memory is None or board.memory.gb == group.memory_gib
            if board.pcie and group.pcie_generation:
                assert (group.pcie_generation, group.pcie_width) == (board.pcie.generation, board.pcie.width)
            engines = {one.engine: one.supported for one in card.engines}
            assert engines.get(profile.stack.engine, True)  # type: ignore[call-overload]
        known = CATALOGUE.find(group.pci_id)
        if known and known[1].power:
            draw += group.count * known[1].power.board_w
    assert profile.hardware.power_budget_w is None or profile.hardware.power_budget_w > draw


def test_every_gpu_server_keeps_models_off_its_system_disk() -> None:
    for name in profile_names():
        for disk in load_profile(name).hardware.disks:
            assert "system" not in disk.holds or disk.holds == ("system",)
