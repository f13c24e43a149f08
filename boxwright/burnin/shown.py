"""What a burn-in found, as a table for whoever ran it."""

from __future__ import annotations

from boxwright.console import Console
from boxwright.reports.measurements import Measurements, Series
from boxwright.reports.view import figure

_COLUMNS = ["What", "Found", "Held to", "Result"]


def show(console: Console, measured: Measurements, accepted: frozenset[str] = frozenset()) -> None:
    """One line a measurement, what broke first; below it what could not be proved. `accepted` names what is waived."""
    broken = measured.breaches(accepted)
    ordered = sorted(measured.series, key=lambda one: not one.out_of_bounds)  # stable: else in the order of the parts
    rows = [(one.title, _found(one), _bounds(one), _result(one, broken=one in broken)) for one in ordered]
    console.table(measured.host, _COLUMNS, rows, kind="burnin")
    for series in ordered:
        if series in broken:
            console.warning(f"{measured.host}: {series.title}. {series.note} {series.remedy}".replace("  ", " "))
    by_reason: dict[str, list[str]] = {}
    for gap in measured.unproven:
        by_reason.setdefault(gap.reason, []).append(gap.what)
        console.data("unproven", gap.model_dump())
    if by_reason:
        console.line()
    for reason, what in by_reason.items():
        console.line(f"  not provable, as {reason}: {'; '.join(what)}")


def _found(series: Series) -> str:
    values = [point.value for point in series.points]
    if len(values) == 1:
        return figure(values[0], series.unit)
    return f"{figure(min(values), '')} to {figure(max(values), series.unit)}"


def _bounds(series: Series) -> str:
    if series.ceiling is not None:
        return f"at most {figure(series.ceiling, series.unit)}"
    return "" if series.floor is None else f"at least {figure(series.floor, series.unit)}"


def _result(series: Series, *, broken: bool) -> str:
    if series.floor is None and series.ceiling is None:
        return ""
    return "FAILS" if broken else "waived" if series.out_of_bounds else "holds"
