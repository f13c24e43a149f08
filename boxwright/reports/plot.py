"""A series as a drawing, before it is drawn: where lines and ticks lie. The page draws it as SVG, the PDF as itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from boxwright.reports.measurements import Series

WIDTH, HEIGHT = 640.0, 250.0
LEGEND = 10.0  # the height of the line that tells what was measured from what was predicted
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 28.0, 44.0
_MOST_X_TICKS = 8

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it lies, and what it says."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines in a field of `WIDTH` x `HEIGHT`, whose origin is its upper left corner.

    Attributes:
        left, right, top, bottom: The frame of the values.
        x_ticks, y_ticks: Marks along the lower and the left side.
        measured: The values.
        predicted: What was predicted, where something was.
        floor, ceiling: The height of the bounds; None where there is none.
    """

    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    measured: tuple[Place, ...]
    predicted: tuple[Place, ...]
    floor: float | None
    ceiling: float | None


def plot(series: Series) -> Plot | None:
    """The drawing of a series; None of a single figure, which says more as a number."""
    if len(series.points) < 2:
        return None
    places = [point.at for point in series.points]
    predicted = [(point.at, point.predicted) for point in series.points if point.predicted is not None]
    bounds = [bound for bound in (series.floor, series.ceiling) if bound is not None]
    values = [point.value for point in series.points] + [value for _, value in predicted] + bounds
    low, high = places[0], places[-1]
    y_marks = _marks(min(0.0, *values), max(values))
    bottom_value, top_value = y_marks[0], y_marks[-1]

    def x(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (value - bottom_value) / (top_value - bottom_value)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    x_marks = places if len(places) <= _MOST_X_TICKS else [one for one in _marks(low, high) if low <= one <= high]
    return Plot(
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=_TOP,
        bottom=HEIGHT - _BOTTOM,
        x_ticks=tuple(Tick(x(mark), f"{mark:g}") for mark in x_marks),
        y_ticks=tuple(Tick(y(mark), f"{mark:g}") for mark in y_marks),
        measured=tuple((x(point.at), y(point.value)) for point in series.points),
        predicted=tuple((x(at), y(value)) for at, value in predicted),
        floor=None if series.floor is None else y(series.floor),
        ceiling=None if series.ceiling is None else y(series.ceiling),
    )


def _marks(low: float, high: float) -> list[float]:
    """Round numbers from below `low` to above `high`, about five of them."""
    if high == low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 12) for number in range(first, last + 1)]
