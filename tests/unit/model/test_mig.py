"""Slices of cards: which there are, whether they fit beside each other, and who computes on which."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators
from boxwright.model.loading import load
from boxwright.model.mig import laid_out
from boxwright.model.mig_layout import check_mig, mig_place, sliced_cards
from boxwright.model.profile import Profile

CARDS = load_accelerators()
TWO_H100 = """
name: sliced
summary: two H100
hardware:
  cpu: {cores_per_socket: 8}
  memory_gib: 64
  disk_gib: 100
  accelerators:
    - {name: H100, pci_id: "10de:2330", count: 2, memory_gib: 80}
nvidia_driver: {}
stack:
  model: smollm2
  engine: vllm
"""
ON_A_SLICE = "name: s, model: m, engine: vllm, engine_port: 8001, mig_slice: {card: 0, profile: 1g.10gb}"


def profile(tmp_path: Path, stack: str, machine: str = TWO_H100) -> Profile:
    path = tmp_path / "sliced.yml"
    path.write_text(machine + "".join(f"  {line}\n" for line in stack.strip().splitlines()))
    return load(path, Profile)


def further(*slices: tuple[int, str], engine: str = "vllm") -> str:
    """A main service on a slice of card 0, and one further for each of these."""
    lines = ["mig_slice: {card: 0, profile: 3g.40gb}", "further:"]
    for number, (card, name) in enumerate(slices, start=1):
        lines.append(
            f"  - {{name: s{number}, model: m, engine: {engine}, engine_port: {8000 + number}, "
            f"mig_slice: {{card: {card}, profile: {name}}}}}"
        )
    return "\n".join(lines)


def test_services_have_slices_of_a_card_that_do_not_overlap(tmp_path: Path) -> None:
    sliced = profile(tmp_path, further((0, "1g.10gb"), (0, "1g.10gb"), (0, "2g.20gb"), (1, "7g.80gb")))
    first, second = sliced_cards(sliced, CARDS)
    assert [(one.profile, one.start) for one in second.slices] == [("7g.80gb", 0)]
    # Where the 3g stood in front, there would be no place for the second 1g: the last part of a card begins nothing.
    assert {(one.profile, one.start) for one in first.slices} == {
        ("3g.40gb", 4),
        ("2g.20gb", 0),
        ("1g.10gb", 2),
        ("1g.10gb", 3),
    }


def test_slices_that_are_alike_go_to_one_service_each(tmp_path: Path) -> None:
    sliced = profile(tmp_path, further((0, "1g.10gb"), (0, "1g.10gb"), (1, "1g.10gb")))
    places = [mig_place(sliced, service) for service in sliced.stack.services]
    assert [(one.card, one.profile, one.number) for one in places if one] == [
        (0, "3g.40gb", 0),
        (0, "1g.10gb", 0),
        (0, "1g.10gb", 1),
        (1, "1g.10gb", 0),
    ]


def test_a_slice_counts_with_its_own_memory(tmp_path: Path) -> None:
    sliced = profile(tmp_path, further((0, "1g.20gb")))
    assert [sliced.device_memory_gib(service) for service in sliced.stack.services] == [(40,), (20,)]
    assert profile(tmp_path, "").device_memory_gib(profile(tmp_path, "").stack) == (80, 80)


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (((0, "4g.40gb"), (0, "1g.10gb")), "3g.40gb, 4g.40gb, 1g.10gb do not fit on card 0"),
        (((0, "3g.40gb"), (0, "1g.10gb")), "do not fit on card 0 beside each other"),
        (((0, "1g.5gb"),), "H100 has no slice 1g.5gb. Did you mean"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, slices: tuple[tuple[int, str], ...], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        check_mig(profile(tmp_path, further(*slices)), CARDS)


def test_a_card_that_is_not_known_to_be_cut_is_refused(tmp_path: Path) -> None:
    geforce = TWO_H100.replace("10de:2330", "10de:2684").replace("H100", "GeForce RTX 4090")
    with pytest.raises(BadInputError, match="GeForce RTX 4090 is not known to be cut into slices"):
        check_mig(profile(tmp_path, "mig_slice: {card: 0, profile: 1g.10gb}", geforce), CARDS)


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("mig_slice: {card: 0, profile: 3g.40gb}\nparallelism: {tensor: 2}", "A model is not spread over slices"),
        ("mig_slice: {card: 0, profile: 3g.40gb}\naccelerators: [1]", "not both"),
        ("mig_slice: {card: 2, profile: 3g.40gb}", "stack.mig_slice: the machine has no card 2"),
        ("mig_slice: {card: 0, profile: big}", "mig_slice.profile"),
        (further((0, "1g.10gb"), engine="ktransformers"), "ktransformers is not given slices of cards"),
        (
            f"accelerators: [0]\nfurther: [{{{ON_A_SLICE}}}]",
            "card 0 is given to one service whole, and to another in slices",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_profile_is_read(tmp_path: Path, stack: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        profile(tmp_path, stack)


def test_slices_need_the_driver_that_makes_them_and_one_machine(tmp_path: Path) -> None:
    stack = "mig_slice: {card: 0, profile: 3g.40gb}"
    with pytest.raises(BadInputError, match="made by the nvidia_driver"):
        profile(tmp_path, stack, TWO_H100.replace("nvidia_driver: {}\n", ""))
    with pytest.raises(BadInputError, match="do not serve together with other machines"):
        profile(tmp_path, stack, TWO_H100.replace("hardware:", "nodes: 2\nhardware:", 1))


def test_every_kind_of_the_catalogue_fits_alone_and_never_overlaps_another() -> None:
    cut = [board.mig for one in CARDS.accelerators for board in one.variants if board.mig]
    assert cut
    for mig in cut:
        for wanted in (*combinations(mig.kinds, 1), *combinations(sorted([*mig.kinds] * 2), 2)):
            placed = laid_out(wanted, mig.kinds)
            assert placed or len(wanted) > 1
            parts = [n for one in placed or () for n in range(one.start, one.start + mig.kinds[one.profile].size)]
            assert len(parts) == len(set(parts))
            assert max(parts, default=0) < mig.parts
