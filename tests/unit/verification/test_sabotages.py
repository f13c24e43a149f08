"""The page lists the sabotages that the lab really does, and each is caught by a check that there is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from factory.evidence.made_inventories import inventory

from boxwright.factory.evidence.examination import examine, require_signer
from boxwright.factory.evidence.files import evidence_files
from boxwright.model.catalogues import load_models
from boxwright.model.checks import VERIFICATION_CHECKS
from boxwright.places import ROOT
from boxwright.signing import ForgedError, SigningKey


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


def test_evidence_that_was_signed_again_holds_together_and_is_not_the_controllers(
    sabotages: ModuleType, tmp_path: Path
) -> None:
    """The sabotage itself, on files: what tells it is whose key it is, and nothing else."""
    key, box = SigningKey.kept_in(tmp_path / "signing"), tmp_path / "box"
    box.mkdir()
    for name, data in evidence_files(inventory(), "box-1", load_models(), key).items():
        (box / name).write_bytes(data)
    require_signer(examine(box).key, (key.public.fingerprint,))
    here = sabotages.RESIGNED.replace("/etc/boxwright", str(box))
    subprocess.run(["bash", "-euc", here], check=True, capture_output=True, timeout=60)
    examined = examine(box)
    assert set(examined.held) == {"sbom.cdx.json", "receipt.json"}
    with pytest.raises(ForgedError, match=re.escape(f"another key, {examined.key.fingerprint}, and not by SHA256:")):
        require_signer(examined.key, (key.public.fingerprint,))
