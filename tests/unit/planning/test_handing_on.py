"""Whether files are handed on from machine to machine is decided by how long either way takes."""

from __future__ import annotations

import pytest

from boxwright.planning.handing_on import HOP_S, LackedFile, decide

GB = 1_000_000_000


def lacked(size: int, machines: int, holders: int = 0, path: str = "/srv/m.gguf") -> LackedFile:
    return LackedFile(path, size, frozenset(range(machines)), size * machines, holders, True)


def handed(file: LackedFile, mbit_s: float, between_mbit_s: float) -> bool:
    return bool(decide([file], mbit_s, between_mbit_s).patience_s)


@pytest.mark.parametrize(
    ("machines", "pays"),
    [(1, False), (2, False), (3, False), (4, True), (5, False), (8, True), (30, True)],
)
def test_on_equal_lines_it_pays_for_many(machines: int, pays: bool) -> None:
    """Each hop takes as long as a copy from the controller: three machines take 1 + 2 of them, eight 1 + 3."""
    assert handed(lacked(40 * GB, machines), 1000, 1000) is pays


def test_over_a_slow_line_it_pays_for_two() -> None:
    assert handed(lacked(40 * GB, 2), 100, 1000)
    assert not handed(lacked(40 * GB, 2), 10_000, 1000)


def test_small_files_are_not_worth_a_hop() -> None:
    assert not handed(lacked(1_000_000, 8), 1000, 1000)
    assert handed(lacked(5 * GB, 8), 1000, 1000)


def test_a_machine_that_has_it_spares_the_first_copy() -> None:
    assert handed(lacked(40 * GB, 1, holders=3), 100, 1000)
    assert decide([lacked(GB, 1, holders=7)], 100, 1000).seconds == pytest.approx(8 + HOP_S)


def test_eight_machines_take_one_copy_and_three_hops() -> None:
    decided = decide([lacked(GB, 8)], 200, 1000)
    assert decided.seconds == pytest.approx(40 + 3 * (8 + HOP_S))
    assert decided.patience_s == {"/srv/m.gguf": 2 * 8 * 40}


def test_what_is_not_handed_on_is_told_with_what_it_would_take() -> None:
    decided = decide([lacked(GB, 2)], 1000, 1000)
    assert not decided.patience_s
    assert decided.seconds == pytest.approx(8 + 8 + HOP_S)


def test_files_are_decided_one_by_one() -> None:
    shards = [lacked(5 * GB, 8, path=f"/srv/{number}") for number in range(3)]
    decided = decide([*shards, lacked(1000, 8, path="/srv/config.json")], 1000, 1000)
    assert set(decided.patience_s) == {"/srv/0", "/srv/1", "/srv/2"}
    assert decided.seconds == pytest.approx(3 * 40 + 3 * (40 + HOP_S), abs=0.1)


def test_nobody_waits_for_ever_for_little() -> None:
    assert set(decide([lacked(10_000_000, 8)], 10, 1000).patience_s.values()) == {128}
    assert set(decide([lacked(10_000_000, 4)], 10, 1000).patience_s.values()) == {120}
