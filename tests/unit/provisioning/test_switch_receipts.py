"""What is switched is a box that was made as its profile says, whatever a box tells in the place of its receipt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from targets import target

from boxwright.errors import BoxwrightError
from boxwright.provisioning.switch import _hold_to_receipts

RECEIPT = {
    "profile": "lab",
    "provisioned_at": "2026-11-01T09:00:00Z",
    "by": "ada@bench",
    "boxwright_version": "0.1.0",
    "stages": ["base", "models", "llama_cpp"],
}


def held(stand_in: Callable[[str, str], None], told: str) -> None:
    stand_in("ssh", f"cat <<'END'\n{told}\nEND")
    whose = target("box-1")
    _hold_to_receipts(whose, whose.fleet.profile.stack)


def test_a_box_that_was_made_so_is_switched(stand_in: Callable[[str, str], None], own_places: Path) -> None:
    held(stand_in, json.dumps(RECEIPT))


@pytest.mark.parametrize(
    "told",
    [
        "null",
        "[]",
        "1",
        "This account is not available.",
        json.dumps({**RECEIPT, "stages": 3}),
        json.dumps({**RECEIPT, "stages": ["base"]}),
        json.dumps({**RECEIPT, "profile": "8x4090"}),
    ],
)
def test_any_other_is_refused_by_name(stand_in: Callable[[str, str], None], own_places: Path, told: str) -> None:
    with pytest.raises(BoxwrightError, match="not provisioned as lab with llama_cpp: box-1"):
        held(stand_in, told)
