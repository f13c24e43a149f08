"""Shows what fits on a machine: a table, bars for the memory of a card, one line of verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boxwright.console.console import Console

GIB = 1 << 30
_WIDTH = 40


@dataclass(frozen=True)
class FitRow:
    """One way to serve a model, as a person reads it; and as programs do."""

    model: str
    engine: str
    quantization: str
    spread: str
    fits: bool
    requests: int
    people: int
    speed: float | None
    reason: str
    data: dict[str, Any]


def show_fits(console: Console, title: str, rows: Sequence[FitRow]) -> None:
    """One row for each way."""
    if console.json:
        for row in rows:
            console.data("fit", row.data)
        return
    cells = [
        (
            row.model,
            row.engine,
            row.quantization,
            row.spread if row.fits else "does not fit",
            str(row.requests) if row.fits else "",
            str(row.people) if row.fits else "",
            f"{row.speed:.0f}" if row.speed else "",
            row.reason,
        )
        for row in rows
    ]
    columns = ["Model", "Engine", "Weights", "Cards", "At once", "People", "Alone, tok/s", "What limits it"]
    console.table(title, columns, cells, kind="fit")


def show_card(console: Console, name: str, parts: Sequence[tuple[str, int]], total: int) -> None:
    """Bars for what one card's memory is taken by."""
    if console.json or not total:
        return
    console.line()
    console.line(f"Memory of each {name}, {total / GIB:.1f} GiB")
    for what, size in parts:
        bar = "#" * round(_WIDTH * size / total)
        console.line(f"  {what:<12} {size / GIB:>6.1f} GiB  {bar}")
