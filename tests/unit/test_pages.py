"""Examples on pages name the variables that roles and deploys really have, all of those that must be given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from boxwright.model.deploy_variables import DEPLOY_VARIABLES
from boxwright.model.variables import Variables
from boxwright.places import ROOT


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def alone(folder: str) -> list[Path]:
    return sorted(page for page in (ROOT / "docs" / folder).glob("*.md") if "\n## Alone\n" in page.read_text())


def load(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.mark.parametrize("page", alone("deploys"), ids=lambda page: page.stem)
def test_the_inventory_of_a_deploy_has_its_variables_and_no_other(page: Path) -> None:
    (unit,) = (unit for unit in DEPLOY_VARIABLES if unit.unit == page.stem)
    inventories = [block for block in blocks(page, "python") if "\nboxes = [" in block]
    assert inventories, "the page runs the deploy alone and shows no inventory.py"
    for text in inventories:
        names: dict[str, Any] = {}
        exec(text, names)  # noqa: S102  what a reader would have pyinfra run
        ((_, data),) = names["boxes"]
        own = {name: value for name, value in data.items() if not name.startswith("ssh_")}
        assert set(own) == {f"{unit.unit}_{field}" for field in unit.model_fields}
        validated(unit, own)


def validated(unit: type[Variables], named: dict[str, Any]) -> None:
    unit.model_validate({name.removeprefix(f"{unit.unit}_"): value for name, value in named.items()})


@pytest.mark.parametrize("page", alone("roles"), ids=lambda page: page.stem)
def test_the_playbook_of_a_role_gives_it_what_it_needs(page: Path) -> None:
    options = load((ROOT / "roles" / page.stem / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    plays = [load(block) for block in blocks(page, "yaml") if block.startswith("- hosts:")]
    assert plays, "the page runs the role alone and shows no playbook"
    for (play,) in plays:
        (role,) = play["roles"]
        assert role["role"] == page.stem
        given = set(role["vars"])
        assert given <= set(options)
        assert {name for name, option in options.items() if option.get("required")} <= given


def test_pages_of_deploys_and_roles_are_looked_at() -> None:
    assert {"models", "llama_cpp", "open_webui"} <= {page.stem for page in alone("deploys")}
    assert {"base", "gateway", "monitoring"} <= {page.stem for page in alone("roles")}
