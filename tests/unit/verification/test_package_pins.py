"""What must be held is what the roles hold, and what pins it is what the roles write."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from boxwright.model.catalogues import load_profile, profile_names
from boxwright.places import ROOT
from boxwright.verification.pins import CONTAINER_TOOLKIT, DOCKER, held, preferences


def test_packages_of_containers_are_those_of_the_role() -> None:
    variables = YAML(typ="safe").load(ROOT / "roles/container_runtime/vars/main.yml")
    assert list(DOCKER) == variables["container_runtime_ce_packages"][:3]
    assert list(CONTAINER_TOOLKIT) == variables["container_runtime_toolkit_packages"]


@pytest.mark.parametrize("name", profile_names())
def test_every_file_of_pins_is_written_by_a_role(name: str) -> None:
    tasks = "".join(path.read_text() for path in (ROOT / "roles").glob("*/tasks/*.yml"))
    for path in preferences(load_profile(name)):
        assert f"{path}\n" in tasks or f"\n      {path.rpartition('boxwright-')[2]}: " in tasks, path


def test_a_box_without_packages_of_vendors_has_no_pins() -> None:
    assert preferences(load_profile("lab")) == held(load_profile("lab")) == ()
    assert set(held(load_profile("8x4090"))) > set(DOCKER)
