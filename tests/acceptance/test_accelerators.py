"""The accelerator cards answer through their driver. On a twin nothing of this can be proven, and it is said so.

NVIDIA's, AMD's and Huawei's cards are asked by their makers' own tools. Cards of other makers are asked by nobody here
yet: on a real machine these checks of theirs fail until a person has asked the maker's tool, and has written a waiver
with what it said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from boxwright.verification.cards import MAKERS, Card, Maker, asked
from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.ssh import BoxShell

# AMD's tool lies where its packages put it; others are found by whoever logs in.
_ASK = """
import json, os, subprocess, sys
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/bin:/opt/rocm/bin"
try:
    done = subprocess.run(DATA, capture_output=True, text=True, timeout=60)
    said = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
except FileNotFoundError:
    said = {"code": 127, "out": "", "err": f"{DATA[0]} is not installed"}
except subprocess.TimeoutExpired:
    said = {"code": 124, "out": "", "err": f"{' '.join(DATA)} gave no answer in 60 s"}
json.dump(said, sys.stdout)
"""


@dataclass(frozen=True)
class Promised:
    """The cards that the profile promises, of a maker whose tool is asked here."""

    maker: Maker
    count: int


@pytest.fixture
def promised(target: VerifyHost) -> Promised:
    """What the profile promises, where it can be asked for."""
    if target.twin:
        raise UnprovenError("a twin has no card that answers")
    groups = target.accelerators or ()
    vendors = {group.pci_id.partition(":")[0] for group in groups}
    makers = [maker for vendor, maker in MAKERS.items() if vendor in vendors]
    if len(makers) != 1 or len(vendors) != 1:
        raise UnprovenError("no check of this maker's cards is written yet: ask its own tool (hy-smi)")
    return Promised(makers[0], sum(group.count for group in groups))


def cards_of(promised: Promised, shell: BoxShell) -> list[Card]:
    """What the maker's tool says of each card."""
    return promised.maker.read(list(asked(promised.maker, lambda argv: shell.python(_ASK, list(argv)))))


@pytest.mark.check(
    id="accelerators.answer",
    title="Every card answers through its driver",
    severity="critical",
    remedy="On the box: nvidia-smi, amd-smi or npu-smi info, and journalctl -k; provision the driver's stage again.",
    needs="accelerators",
)
def test_every_card_answers(promised: Promised, shell: BoxShell, evidence: Evidence) -> None:
    cards = cards_of(promised, shell)
    broken = [card for card in cards if not card.memory_mib]
    unwell = [f"{card.slot}: {card.trouble}" for card in cards if card.trouble]
    assert len(cards) == promised.count, f"{len(cards)} of {promised.count} cards answer"
    assert not broken, f"no memory size from {len(broken)} cards"
    assert not unwell, f"{promised.maker.tool} calls unwell: {', '.join(unwell)}"
    kinds = Counter(card.name for card in cards)
    drivers = sorted({card.driver for card in cards if card.driver}) or ["unknown"]
    evidence(f"{', '.join(f'{count} x {name}' for name, count in kinds.items())}, driver {', '.join(drivers)}")


@pytest.mark.check(
    id="accelerators.persistence",
    title="The driver stays loaded when nobody uses a card",
    severity="minor",
    remedy="On the box: systemctl enable --now nvidia-persistenced.",
    needs="accelerators",
)
def test_persistence(promised: Promised, shell: BoxShell, evidence: Evidence) -> None:
    cards = cards_of(promised, shell)
    off = sum(card.persistent is False for card in cards)
    assert not off, f"persistence mode is off on {off} of {promised.count} cards"
    evidence(promised.maker.no_mode or f"persistence mode is on for all {len(cards)}")


@pytest.mark.check(
    id="accelerators.errors",
    title="No card has uncorrected memory errors",
    severity="critical",
    remedy="On the box: nvidia-smi -q -d ECC,ROW_REMAPPER; amd-smi metric --ecc; npu-smi info -t ecc -i NUMBER. "
    "A card that goes on, or whose rows cannot be remapped, is for exchange.",
    needs="accelerators",
)
def test_uncorrected_errors(promised: Promised, shell: BoxShell, evidence: Evidence) -> None:
    cards = cards_of(promised, shell)
    counted = {card.slot: card.uncorrected for card in cards if card.uncorrected is not None}
    silent = promised.count - len(counted)
    if silent and promised.maker.counts_errors:
        raise UnprovenError(f"{promised.maker.tool} tells no memory errors of {silent} of {promised.count} cards")
    bad = {slot: count for slot, count in counted.items() if count}
    assert not bad, ", ".join(f"{slot}: {count}" for slot, count in bad.items())
    evidence(f"none on {len(counted)} cards; {silent} have no ECC")
