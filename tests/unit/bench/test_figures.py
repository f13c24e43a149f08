"""What requests add up to, and the series that come of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.bench.cards import Reading, card_row, together
from boxwright.bench.figures import Spread, figures
from boxwright.bench.job import Answered
from boxwright.bench.measured import Step, held_at, series, speed_wanted


def answered(began: float, *, tokens: int = 11, gap: float = 0.1, first: float = 0.5, error: str = "") -> Answered:
    return Answered(
        began_s=began,
        seconds=first + gap * (tokens - 1),
        first_s=first,
        gaps_s=(gap,) * (tokens - 1),
        prompt_tokens=100,
        tokens=tokens,
        error=error,
        timed_out=error == "no answer in time",
    )


def test_two_at_once_are_twice_as_much_together() -> None:
    alone, both = figures([answered(0), answered(1.5)]), figures([answered(0), answered(0)])
    assert alone.each_tokens_per_s == pytest.approx(10)
    assert both.each_tokens_per_s == pytest.approx(10)
    assert both.tokens_per_s == pytest.approx(22 / 1.5)
    assert alone.tokens_per_s == pytest.approx(22 / 3)
    assert both.first_s == Spread(0.5, 0.5, 0.5)


def test_what_failed_counts_by_its_number_alone() -> None:
    found = figures([answered(0), answered(0, tokens=500, error="HTTP 429"), answered(0, error="no answer in time")])
    assert (found.requests, found.failed, found.timed_out, found.why) == (3, 2, 1, "HTTP 429")
    assert found.tokens_per_s == pytest.approx(11 / 1.5)
    assert figures([answered(0, error="HTTP 502")]).first_s is None


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_parts_of_a_hundred_are_in_order_and_among_the_values(values: list[float]) -> None:
    found = Spread.of(values)
    assert found
    a_little = 1 + 1e-9  # what interpolation rounds
    assert min(values) <= found.p50 * a_little <= found.p95 * a_little**2 <= found.p99 * a_little**3
    assert found.p99 <= max(values) * a_little


def test_series_over_requests_at_once() -> None:
    one = Step("gateway", 512, 1, figures([answered(0)]), predicted=12.0)
    two = Step("gateway", 512, 2, figures([answered(0), answered(0, error="HTTP 429")]), predicted=None)
    found = {line.name: line for line in series([two, one], floor=11.0)}
    throughput = found["gateway.512.throughput"]
    assert [(point.at, point.predicted) for point in throughput.points] == [(1, 12.0), (2, None)]
    assert found["gateway.512.alone"].out_of_bounds  # ten a second, and eleven are promised
    assert [point.at for point in found["gateway.512.failed"].out_of_bounds] == [2]
    assert "gateway.512.watts" not in found


def test_without_a_floor_nothing_is_held_to_one() -> None:
    names = {line.name for line in series([Step("engine", 512, 1, figures([answered(0)]))], floor=None)}
    assert "engine.512.alone" not in names
    assert "engine.512.first_p95" in names


def test_a_floor_of_which_nothing_was_measured_does_not_hold() -> None:
    mute = Step("engine", 512, 1, figures([answered(0, tokens=1)]))
    (alone,) = (line for line in series([mute], floor=11.0) if line.name.endswith(".alone"))
    assert alone.out_of_bounds
    assert alone.note


def test_requests_that_each_are_as_fast_as_wanted() -> None:
    def step(at_once: int, *, gap: float, error: str = "") -> Step:
        return Step("engine", 512, at_once, figures([answered(0, gap=gap), answered(0, gap=gap, error=error)]))

    fast, slow, failed = step(1, gap=0.05), step(4, gap=0.2), step(4, gap=0.05, error="HTTP 429")
    late = step(8, gap=0.05)  # lucky: what is slower before it counts
    assert held_at([late, slow, fast], speed_wanted(10)) == 1
    assert held_at([fast, failed], 10) == 1
    assert held_at([fast, late], 10) == 8
    assert held_at([slow], 10) == 0
    assert speed_wanted(None) == 10


def test_cards_add_up() -> None:
    rows = [card_row("100.5, 2048, 60"), card_row(" 99.5, 1024, 71\n")]
    assert together([row for row in rows if row]) == Reading(watts=200.0, memory_gib=2.0, celsius=71.0)
    assert card_row("[N/A], 1024, 71") is None
    assert card_row("No devices were found") is None
