"""The accelerator cards answer through their driver. On a twin nothing of this can be proven, and it is said so.

Cards of other makers than NVIDIA are asked by nobody here yet: on a real machine these checks of theirs fail until a
person has asked the maker's own tool, and has written a waiver with what it said.
"""

from __future__ import annotations

import re

import pytest

from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.ssh import BoxShell

_ASK = """
import json, subprocess, sys
try:
    done = subprocess.run(DATA, capture_output=True, text=True, timeout=60)
    said = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
except FileNotFoundError:
    said = {"code": 127, "out": "", "err": f"{DATA[0]} is not installed"}
json.dump(said, sys.stdout)
"""


@pytest.fixture
def nvidia(target: VerifyHost) -> int:
    """How many NVIDIA cards the profile promises."""
    if target.twin:
        raise UnprovenError("a twin has no card that answers")
    cards = [group for group in target.accelerators or () if group.pci_id.startswith("10de:")]
    if not cards:
        raise UnprovenError(
            "no check of this maker's cards is written yet: ask its own tool (amd-smi, npu-smi, hy-smi)"
        )
    return sum(group.count for group in cards)


def asked(shell: BoxShell, *fields: str) -> list[list[str]]:
    """What nvidia-smi says of each card."""
    said = shell.python(_ASK, ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"])
    assert said["code"] == 0, f"nvidia-smi ended with {said['code']}: {(said['err'] or said['out']).strip()}"
    return [[cell.strip() for cell in line.split(",")] for line in said["out"].splitlines() if line.strip()]


@pytest.mark.check(
    id="accelerators.answer",
    title="Every card answers through its driver",
    severity="critical",
    remedy="On the box: nvidia-smi, and journalctl -k for Xid; then provision the stage nvidia_driver again.",
    needs="accelerators",
)
def test_every_card_answers(nvidia: int, shell: BoxShell, evidence: Evidence) -> None:
    rows = asked(shell, "name", "driver_version", "memory.total")
    broken = [row for row in rows if not re.fullmatch(r"[0-9]+", row[2])]
    assert len(rows) == nvidia, f"{len(rows)} of {nvidia} cards answer"
    assert not broken, f"no memory size from {len(broken)} cards"
    evidence(f"{len(rows)} x {rows[0][0]}, driver {rows[0][1]}")


@pytest.mark.check(
    id="accelerators.persistence",
    title="The driver stays loaded when nobody uses a card",
    severity="minor",
    remedy="On the box: systemctl enable --now nvidia-persistenced.",
    needs="accelerators",
)
def test_persistence(nvidia: int, shell: BoxShell, evidence: Evidence) -> None:
    rows = asked(shell, "persistence_mode")
    off = sum(row[0] != "Enabled" for row in rows)
    assert not off, f"persistence mode is off on {off} of {nvidia} cards"
    evidence(f"persistence mode is on for all {len(rows)}")


@pytest.mark.check(
    id="accelerators.errors",
    title="No card has uncorrected memory errors",
    severity="critical",
    remedy="On the box: nvidia-smi -q -d ECC,ROW_REMAPPER; a card whose rows cannot be remapped is for exchange.",
    needs="accelerators",
)
def test_uncorrected_errors(nvidia: int, shell: BoxShell, evidence: Evidence) -> None:
    rows = asked(shell, "pci.bus_id", "ecc.errors.uncorrected.volatile.total")
    counted = {slot: int(count) for slot, count in rows if count.isdigit()}
    bad = {slot: count for slot, count in counted.items() if count}
    assert not bad, ", ".join(f"{slot}: {count}" for slot, count in bad.items())
    evidence(f"none on {len(counted)} cards; {nvidia - len(counted)} have no ECC")
