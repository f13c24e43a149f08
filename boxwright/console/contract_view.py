"""How a machine against its contract looks: what differs as a table, what holds as a count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from boxwright.console.console import Console
from boxwright.console.text import counted, one_line, padded

Verdict = Literal["refused", "warning", "waived", "unproven", "ok"]
_STYLE: dict[Verdict, str] = {
    "refused": "bold red",
    "warning": "yellow",
    "waived": "yellow",
    "unproven": "cyan",
    "ok": "green",
}
_ORDER = list(_STYLE)
Row = tuple[str, Verdict, str, str, str, str]  # host, verdict, check, found, wanted, what to do or who waived it


def show_contracts(console: Console, profile: str, rows: Sequence[Row], counts: Mapping[str, int]) -> None:
    """Show what differs from the contract of a profile, the worst first; `counts` is by verdict, over all hosts."""
    ordered = sorted(rows, key=lambda row: (_ORDER.index(row[1]), row[0]))
    if console.json:
        for host, verdict, check, found, wanted, remark in ordered:
            line = {"host": host, "verdict": verdict, "check": check, "found": found, "wanted": wanted}
            console.data("contract", line | {"remark": remark})
        return
    differing = [row for row in ordered if row[1] != "ok"]
    held = _held(counts.get("ok", 0))
    if not differing:
        console.info(f"The machine is a {profile}: {held}.")
        return
    console.line()
    console.line(f"Found against the contract of {profile}: {held}.", style="bold")
    if console.live:
        console.show(_table(differing))
        return
    for host, verdict, check, found, wanted, remark in differing:
        words = f"found {one_line(found)}, wanted {one_line(wanted)}"
        console.line(f"{padded(verdict, 8)}  {host}  {check}  {words}", style=_STYLE[verdict])
        if remark:
            console.line(f"          {one_line(remark)}")


def _held(count: int) -> str:
    return f"{counted(count, 'check')} {'holds' if count == 1 else 'hold'}"


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for title in ("Host", "Verdict", "Check", "Found", "Wanted", "Next"):
        table.add_column(title, overflow="fold", no_wrap=title == "Verdict")
    for host, verdict, *cells in rows:
        table.add_row(Text(host), Text(verdict, style=_STYLE[verdict]), *(Text(one_line(cell)) for cell in cells))
    return table
