"""What a run measured on one host: named series with their units, and beside them what they are held to.

`bench` and `burnin` write one such file a host into the folder of their run; `report` reads the newest of each kind.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, HostName, Identifier

Kind = Literal["bench", "burnin"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]  # UTC, as `reporting.run_log.now` writes it


class Point(Frozen):
    """One value of a series.

    Attributes:
        at: Where it was taken: so many requests at once, so many seconds into the run. 0 for a single figure.
        value: What was measured, in the unit of the series.
        predicted: What the sizing said beforehand, in the same unit; None where it says nothing of it.
    """

    at: Number = 0
    value: Number
    predicted: Number | None = None


class Series(Frozen):
    """A measured quantity.

    Attributes:
        name: Its stable name, `throughput`: with its run's kind in front it is what a waiver names.
        title: What it is, for people.
        unit: Of its values: `tok/s`, `s`, `°C`. Empty for counts.
        over: What `at` counts, with its unit: `requests at once`, `seconds`. Empty for a single figure.
        points: In the order of `at`.
        floor: No value may be below it.
        ceiling: No value may be above it.
        note: What a reader must know of it, such as that a part of it is SIMULATED.
        remedy: What a person does when a value is out of bounds.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")]
    title: str
    unit: str = ""
    over: str = ""
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    floor: Number | None = None
    ceiling: Number | None = None
    note: str = ""
    remedy: str = ""

    @model_validator(mode="after")
    def _points_are_in_order(self) -> Series:
        places = [point.at for point in self.points]
        if places != sorted(set(places)):
            raise ValueError(f"{self.name}: its points are not in order, or two are at one place")
        if len(places) > 1 and not self.over:
            raise ValueError(f"{self.name}: several points, and 'over' does not say what they are taken at")
        return self

    @property
    def out_of_bounds(self) -> tuple[Point, ...]:
        """The points that are below the floor or above the ceiling."""
        low = float("-inf") if self.floor is None else self.floor
        high = float("inf") if self.ceiling is None else self.ceiling
        return tuple(point for point in self.points if not low <= point.value <= high)


class Gap(Frozen):
    """Something that nobody could prove here, and why."""

    what: str
    reason: str


class Measurements(Frozen):
    """Everything that one run measured on one host.

    Attributes:
        kind: Which verb took them.
        profile: The kind of box that was measured.
        run: The run's id, by which its log is found.
        started_at: When it began.
        seconds: How long it took.
        tool: What measured, with its version.
        conditions: What it was measured under, by name: the model, its context, the room's temperature.
        series: What was measured.
        unproven: What could not be measured here, such as a card of a twin.
        stopped: Why it ended before its time; empty where it did not. A run that was stopped proves nothing.
    """

    kind: Kind
    host: HostName
    site: Identifier
    profile: Identifier
    run: str
    started_at: Time
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tool: str
    conditions: dict[str, str] = Field(default_factory=dict)
    series: tuple[Series, ...] = ()
    unproven: tuple[Gap, ...] = ()
    stopped: str = ""

    def breaches(self, accepted: Collection[str] = ()) -> tuple[Series, ...]:
        """The series that do not keep within their bounds.

        Args:
            accepted: Names that waivers give, `burnin.gpu.programs`: what they name is none.
        """
        return tuple(one for one in self.series if one.out_of_bounds and f"{self.kind}.{one.name}" not in accepted)

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Measurements:
        names = [one.name for one in self.series]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two series are called {', '.join(twice)}")
        return self
