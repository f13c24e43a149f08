"""What a slice of a card counts for, when models are fitted onto a profile."""

from __future__ import annotations

import pytest

from boxwright.model.catalogues import load_accelerators
from boxwright.model.hardware import Accelerator, Cpu, Hardware
from boxwright.model.mig import MigSlice
from boxwright.sizing.machine import machine_of, slice_alone


def test_a_slice_has_its_own_memory_and_its_share_of_speed() -> None:
    cards = Accelerator(name="H100", pci_id="10de:2330", count=2, memory_gib=80)
    hardware = Hardware(cpu=Cpu(cores_per_socket=8), memory_gib=64, disk_gib=100, accelerators=(cards,))
    whole = machine_of("two", hardware, 1, load_accelerators())
    part = slice_alone(whole, MigSlice(card=0, profile="3g.40gb"))
    assert whole.card
    assert part.card
    assert (part.cards, part.card.name) == (1, "3g.40gb of a H100 SXM5 80GB")
    assert part.card.memory_bytes * 2 == whole.card.memory_bytes
    assert part.card.bandwidth == pytest.approx((whole.card.bandwidth or 0) / 2)
    assert part.card.flops_16 == pytest.approx((whole.card.flops_16 or 0) * 3 / 7)
