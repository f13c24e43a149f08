"""What a sweep measured, as series for the certificate. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from boxwright.bench.cards import Reading
from boxwright.bench.figures import Spread, StepFigures
from boxwright.reports.measurements import Point, Series
from boxwright.sizing.fit import Wish as FitWish

_AT_ONCE = "requests at once"


@dataclass(frozen=True)
class Step:
    """One step of a sweep.

    Attributes:
        route: `gateway`, or `engine`: past it, by ssh.
        context: Tokens of a question and its answer.
        concurrency: Requests at a time.
        figures: What came back.
        predicted: Tokens a second of each request, by sizing; None where it says nothing.
        cards: The highest that was read of the cards meanwhile; None where there was nothing to read.
    """

    route: str
    context: int
    concurrency: int
    figures: StepFigures
    predicted: float | None = None
    cards: Reading | None = None


@dataclass(frozen=True)
class _Quantity:
    """Something that is measured at every step."""

    name: str
    title: str
    unit: str
    value: Callable[[Step], float | None]
    predicted: Callable[[Step], float | None] = lambda _: None
    ceiling: float | None = None
    remedy: str = ""

    def series(self, steps: Sequence[Step], name: str, where: str) -> Iterator[Series]:
        """Over the steps that have it; none where no step has."""
        ordered = sorted(steps, key=lambda one: one.concurrency)
        points = tuple(
            Point(at=one.concurrency, value=found, predicted=self.predicted(one))
            for one in ordered
            if (found := self.value(one)) is not None
        )
        if points:
            yield Series(
                name=f"{name}.{self.name}",
                title=f"{self.title} ({where})",
                unit=self.unit,
                over="requests at once",
                points=points,
                ceiling=self.ceiling,
                remedy=self.remedy,
            )


def _part(pick: Callable[[StepFigures], Spread | None], part: str) -> Callable[[Step], float | None]:
    def value(step: Step) -> float | None:
        found = pick(step.figures)
        return getattr(found, part) if found else None

    return value


def _read(name: str) -> Callable[[Step], float | None]:
    def value(step: Step) -> float | None:
        return getattr(step.cards, name) if step.cards else None

    return value


_SPREADS: tuple[tuple[str, str, Callable[[StepFigures], Spread | None]], ...] = (
    ("first", "Until the first word", lambda one: one.first_s),
    ("gap", "Between words", lambda one: one.gap_s),
    ("whole", "Until the last word", lambda one: one.seconds),
)
_PARTS = (("p50", "half of all"), ("p95", "95 of 100"), ("p99", "99 of 100"))
_QUANTITIES = (
    _Quantity(
        "throughput", "All answers together", "tok/s", lambda one: one.figures.tokens_per_s,
        lambda one: None if one.predicted is None else one.predicted * one.concurrency,
    ),
    _Quantity("each", "Each answer", "tok/s", lambda one: one.figures.each_tokens_per_s, lambda one: one.predicted),
    *(
        _Quantity(f"{short}_{part}", f"{title}: {words}", "s", _part(pick, part))
        for short, title, pick in _SPREADS
        for part, words in _PARTS
    ),
    _Quantity(
        "failed", "Requests that failed", "", lambda one: one.figures.failed, ceiling=0,
        remedy="Read the engine's and the gateway's journal of that time; a 429 is the gateway's limit.",
    ),
    _Quantity(
        "timed_out", "Requests without an answer in time", "", lambda one: one.figures.timed_out, ceiling=0,
        remedy="Ask for less at once, or for shorter answers.",
    ),
    _Quantity("watts", "Power of all cards", "W", _read("watts")),
    _Quantity("memory_gib", "Memory of the fullest card", "GiB", _read("memory_gib")),
    _Quantity("celsius", "Temperature of the hottest card", "°C", _read("celsius")),
)  # fmt: skip


def series(steps: Sequence[Step], floor: float | None) -> tuple[Series, ...]:
    """Every series of a sweep; `floor` is the profile's, of one answer alone, in tokens a second."""
    found: list[Series] = []
    for route, context in dict.fromkeys((one.route, one.context) for one in steps):
        group = [one for one in steps if (one.route, one.context) == (route, context)]
        name, where = f"{route}.{context}", f"{context} tokens, by the {route}"
        found.extend(one for quantity in _QUANTITIES for one in quantity.series(group, name, where))
        held = Point(value=held_at(group, speed_wanted(floor)))
        found.append(
            Series(name=f"{name}.held", title=f"Requests at once, each as fast as wanted ({where})", points=(held,))
        )
        if floor:
            found.append(_alone(group, floor, name, where))
    return tuple(found)


def speed_wanted(floor: float | None) -> float:
    """Tokens a second that each of several answers has to have: the profile's floor, else what sizing reckons with."""
    return floor or FitWish().speed


def held_at(steps: Sequence[Step], speed: float) -> int:
    """The most requests at once, of those tried, up to which none failed and each got so many tokens a second."""

    def holds(step: Step) -> bool:
        return not step.figures.failed and (step.figures.each_tokens_per_s or 0) >= speed

    ordered = sorted(steps, key=lambda one: one.concurrency)
    return max((one.concurrency for one in takewhile(holds, ordered)), default=0)


def _alone(group: Sequence[Step], floor: float, name: str, where: str) -> Series:
    """One answer alone, held to the profile's floor. Nothing measured is below any floor: it was promised."""
    speed = next((one.figures.each_tokens_per_s for one in group if one.concurrency == 1), None)
    return Series(
        name=f"{name}.alone",
        title=f"One answer alone ({where})",
        unit="tok/s",
        points=(Point(value=speed or 0.0),),
        floor=floor,
        note="" if speed else "no answer came whose speed could be measured",
        remedy="See where the model lies (./invoke verify), and what else the box does meanwhile.",
    )
