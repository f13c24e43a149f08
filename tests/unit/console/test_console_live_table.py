"""A table that is looked at: redrawn on a terminal until it is done, printed once anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from boxwright.console.live_table import Shown, watch_table

Record = Callable[..., Any]


def looks() -> Callable[[], Shown]:
    stages: Iterator[tuple[str, bool]] = iter([("2 of 3", False), ("[bold]3 of 3", True)])

    def look() -> Shown:
        stage, done = next(stages)
        return Shown("line", ["Machine", "Stage"], [["line-1", stage]], ["green"], done)

    return look


def test_on_a_terminal_it_is_drawn_anew_until_it_is_done(record: Record) -> None:
    seen = record(terminal=True, width=60)
    watch_table(seen.console, looks(), every_s=0.01)
    assert "2 of 3" in seen.out
    assert seen.out.rindex("[bold]3 of 3") > seen.out.rindex("2 of 3")


def test_elsewhere_it_is_printed_once(record: Record) -> None:
    seen = record()
    watch_table(seen.console, looks())
    assert seen.out == "\nline\n  Machine  Stage\n  line-1   2 of 3\n"
