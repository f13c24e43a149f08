"""The page lists the sabotages that the lab really does, and each is caught by a check that there is."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from types import ModuleType

import pytest

from boxwright.model.catalogues import ROOT
from boxwright.model.checks import VERIFICATION_CHECKS


@pytest.fixture(scope="module")
def sabotages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sabotages", ROOT / "tests/lab/sabotages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["sabotages"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_lab_have_the_same_sabotages(sabotages: ModuleType) -> None:
    _, _, part = (ROOT / "docs/checks.md").read_text().partition("\n## Sabotages\n")
    rows = re.findall(r"^\| (.+) \| `(.+)` \|$", part, re.MULTILINE)
    assert rows == [(one.what, one.check) for one in sabotages.SABOTAGES]


def test_every_sabotage_is_meant_for_a_check_that_there_is(sabotages: ModuleType) -> None:
    assert {one.check for one in sabotages.SABOTAGES} <= set(VERIFICATION_CHECKS)


@pytest.mark.parametrize("group", ["TOGETHER", "WITH_PACKAGES"])
def test_what_is_done_together_is_told_apart_by_its_check(sabotages: ModuleType, group: str) -> None:
    members: Sequence[object] = getattr(sabotages, group)
    checks = [one.check for one in members]  # type: ignore[attr-defined]
    assert len(set(checks)) == len(checks)


def test_what_the_issue_asks_for_is_done(sabotages: ModuleType) -> None:
    caught = {one.check for one in sabotages.SABOTAGES}
    asked = {
        *("services.active", "exposure.sockets", "engine.weights", "secrets.files", "machine.driver_packages"),
        *("engine.numa", "gateway.tls", "exposure.forwards"),
    }
    assert asked <= caught
