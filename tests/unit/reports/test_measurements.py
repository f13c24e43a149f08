"""The one file format of tools that measure."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from made_certificates import bench
from pydantic import ValidationError

from boxwright import places
from boxwright.errors import BoxwrightError
from boxwright.places import ROOT
from boxwright.reports.measurements import Measurements, Point, Series
from boxwright.reports.plot import HEIGHT, WIDTH, plot
from boxwright.reports.runs import newest_measurements, write_measurements


def series(*values: float, **bounds: float) -> Series:
    points = tuple(Point(at=place, value=value) for place, value in enumerate(values))
    return Series(name="a", title="A", unit="W", over="seconds", points=points, **bounds)


@pytest.mark.parametrize(
    ("bounds", "outside"),
    [({}, []), ({"floor": 2}, [1]), ({"ceiling": 2}, [3]), ({"floor": 2, "ceiling": 2}, [1, 3]), ({"floor": 1}, [])],
)
def test_a_bound_itself_is_still_within(bounds: dict[str, float], outside: list[float]) -> None:
    assert [point.value for point in series(1, 2, 3, **bounds).out_of_bounds] == outside


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": ()}, "at least 1 item"),
        ({"points": (Point(at=2, value=1), Point(at=1, value=1))}, "not in order"),
        ({"points": (Point(at=1, value=1), Point(at=1, value=2))}, "not in order"),
        ({"over": ""}, "'over' does not say"),
        ({"points": ({"value": float("nan")},)}, "finite"),
        ({"name": "Tokens a second"}, "pattern"),
    ],
)
def test_what_cannot_be_read_later_is_refused(changes: dict[str, object], message: str) -> None:
    told = series(1, 2).model_dump() | changes
    with pytest.raises(ValidationError, match=message):
        Series.model_validate(told)


def test_the_page_shows_a_file_that_can_be_read() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs/verbs/report.md").read_text(), re.MULTILINE | re.DOTALL)
    (told,) = Measurements.model_validate_json(block).series
    assert (told.unit, told.out_of_bounds) == ("tok/s", ())


def test_two_series_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two series are called throughput"):
        bench(1, series=[bench(1).series[0]] * 2)


def test_the_newest_of_the_host_is_found_and_of_no_other(own_places: Path) -> None:
    def write(run: str, **changes: object) -> Path:
        folder = places.state() / "runs" / run
        folder.mkdir(parents=True, exist_ok=True)
        return write_measurements(folder, bench(1, run=run, **changes))

    assert newest_measurements("s", "8x4090", "box-1") == {}
    write("2", started_at="2026-11-02T00:00:00Z")
    path = write("1", started_at="2026-11-01T00:00:00Z")
    write("3", started_at="2026-11-03T00:00:00Z", site="other")
    write("4", started_at="2026-11-03T00:00:00Z", profile="lab")
    write("5", started_at="2026-11-03T00:00:00Z", host="box-2")
    write("6", kind="burnin")
    found = newest_measurements("s", "8x4090", "box-1")
    assert {kind: measured.run for kind, measured in found.items()} == {"bench": "2", "burnin": "6"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text('{"kind": "bench"}')
    with pytest.raises(BoxwrightError, match="cannot be read") as caught:
        newest_measurements("s", "8x4090", "box-1")
    assert caught.value.where == str(path)


@pytest.mark.parametrize("values", [(1, 2), (0, 0), (5, 5, 5), (-3, 4), (1e-9, 2e-9), (1e9, 3e9), tuple(range(500))])
def test_a_plot_keeps_everything_within_its_frame(values: tuple[float, ...]) -> None:
    for bounds in ({}, {"floor": -7.0}, {"ceiling": 1e10}):
        lines = plot(series(*values, **bounds))
        assert lines is not None
        assert len(lines.measured) == len(values)
        assert all(lines.left <= x <= lines.right and lines.top <= y <= lines.bottom for x, y in lines.measured)
        assert all(lines.left <= tick.place <= lines.right for tick in lines.x_ticks)
        assert 2 <= len(lines.y_ticks) <= 8
        assert len({tick.label for tick in lines.y_ticks}) == len(lines.y_ticks)
        assert 0 < lines.left < lines.right < WIDTH
        assert 0 < lines.top < lines.bottom < HEIGHT
    assert plot(series(1)) is None
