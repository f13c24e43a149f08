"""Which release of an engine a box gets follows from its cards, where the profile names none."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile
from boxwright.model.compatibility import check_stack
from boxwright.model.profile import Profile
from boxwright.model.releases import usual_release
from boxwright.places import ROOT

VLLM, CARDS = load_engine("vllm"), load_accelerators()
GROUP = {"count": 1, "memory_gib": 32, "pcie_generation": 3, "pcie_width": 16}
V100 = GROUP | {"name": "V100", "pci_id": "10de:1db6"}
RTX_5090 = GROUP | {"name": "5090", "pci_id": "10de:2b85"}
A100 = GROUP | {"name": "A100", "pci_id": "10de:20b5"}


def box(*cards: dict[str, Any], **stack: Any) -> Profile:
    profile = load_profile("1xv100").model_dump()
    profile["hardware"]["accelerators"] = list(cards)
    profile["stack"] |= {"engine": "vllm", "build": "bf16"} | stack
    return Profile.model_validate(profile)


def release(profile: Profile) -> str:
    return usual_release(profile, "vllm", VLLM, CARDS)


@pytest.mark.parametrize(
    ("cards", "wanted"),
    [((), "0.33.0"), ((A100,), "0.33.0"), ((V100,), "0.19.1"), ((A100, V100), "0.19.1"), ((RTX_5090,), "0.33.0")],
)
def test_it_is_the_newest_that_runs_on_all_cards(cards: tuple[dict[str, Any], ...], wanted: str) -> None:
    assert release(box(*cards)) == wanted


def test_cards_that_another_engine_has_do_not_count() -> None:
    further = {"name": "old", "model": "smollm2", "engine": "ollama", "engine_port": 8001, "accelerators": [1]}
    assert release(box(A100, V100, accelerators=[0], further=[further])) == "0.33.0"


def test_a_service_beside_the_main_one_counts_as_a_box_has_one_release() -> None:
    further = {"name": "old", "model": "smollm2", "engine": "vllm", "engine_port": 8001, "accelerators": [1]}
    assert release(box(A100, V100, accelerators=[0], further=[further])) == "0.19.1"


def test_cards_that_no_release_is_for_are_told_of_the_default() -> None:
    mixed = box(V100, RTX_5090)
    assert release(mixed) == "0.33.0"
    with pytest.raises(BadInputError, match=r"vllm 0\.33\.0 has nothing for Tesla V100: 0\.19\.1 is the last release"):
        check_stack(mixed, load_engine, CARDS, load_models())


def test_every_release_that_is_chosen_has_a_locked_list() -> None:
    names = [f"cpu-{VLLM.cpu_version}", *(f"cuda-{one}" for one in (VLLM.default_version, *VLLM.older_versions))]
    for name in names:
        text = (ROOT / f"deploys/vllm/requirements-{name}.lock").read_text()
        version = name.partition("-")[2]
        assert f"\nvllm=={version} " in text or f"\nvllm-cpu=={version} " in text
        assert "--hash=sha256:" in text
        assert "://" not in text
