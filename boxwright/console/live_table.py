"""A table that is looked at until it is done: redrawn on a terminal, printed once anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from boxwright.console.console import Console
from boxwright.console.text import one_line


@dataclass(frozen=True, slots=True)
class Shown:
    """What a table says at one time.

    Attributes:
        title: Above it.
        columns: Their names.
        rows: Their cells.
        styles: Of each row's last cell, in rich's words; empty: plain.
        done: Whether nothing of it changes any more.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str]
    done: bool


def watch_table(console: Console, look: Callable[[], Shown], *, every_s: float = 3.0) -> None:
    """Show a table, on a terminal anew every so many seconds until it is done or Ctrl-C ends it."""
    shown = look()
    if not console.live:
        console.table(shown.title, shown.columns, shown.rows, kind="row")
        return
    with Live(_drawn(shown), console=console.screen, auto_refresh=False, transient=False) as live:
        try:
            while not shown.done:
                time.sleep(every_s)
                shown = look()
                live.update(_drawn(shown), refresh=True)
        except KeyboardInterrupt:
            return


def _drawn(shown: Shown) -> Group:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for column in shown.columns:
        table.add_column(Text(column), overflow="fold")
    for row, style in zip(shown.rows, shown.styles, strict=True):
        *cells, last = (Text(one_line(cell)) for cell in row)
        last.stylize(style)
        table.add_row(*cells, last)
    return Group(Text(one_line(shown.title), style="bold"), table)
