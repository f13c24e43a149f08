"""How a plan looks: one combined diff over both engines, by host and stage, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from rich.text import Text

from boxwright.console.console import Console
from boxwright.console.text import counted, harmless, named, one_line, shortened
from boxwright.planning.changes import PlannedChange

_DIFF_LIMIT = 40  # lines


def render_plan(console: Console, changes: Sequence[PlannedChange], *, already_right: int) -> None:
    """Show what would change; a change that several hosts share is shown once, with their names.

    Args:
        console: Where to show it.
        changes: What would change, in the order in which it would.
        already_right: How many resources are as wanted, over all hosts.
    """
    hosts = list(dict.fromkeys(change.host for change in changes))
    if console.json:
        for change in changes:
            console.data("change", asdict(change))
        totals = {"to_change": len(changes), "hosts": len(hosts), "already_right": already_right}
        console.data("plan", totals)
        return
    for names, shared in groupby(_by_hosts(changes), key=lambda group: group[0]):
        console.line()
        console.line(named(names, limit=8), style="bold")
        for (stage, engine), group in groupby(shared, key=lambda group: (group[1].stage, group[1].engine)):
            console.show(Text.assemble("  ", (one_line(stage), "cyan"), (f" by {one_line(engine)}", "dim")))
            for _, change in group:
                _show_change(console, change)
    if changes:
        console.line()
        where = counted(len(hosts), "host")
        console.line(f"Plan: {len(changes)} to change on {where}, {already_right} already right.", style="bold")
    else:
        console.success(f"Nothing to change: {already_right} already right.")


def _by_hosts(changes: Sequence[PlannedChange]) -> list[tuple[tuple[str, ...], PlannedChange]]:
    """Return each distinct change once with its hosts; changes of the same hosts stand together."""
    sharing: dict[tuple[str, str, str, str], list[PlannedChange]] = {}
    for change in changes:
        sharing.setdefault((change.stage, change.engine, change.resource, change.diff), []).append(change)
    groups: dict[tuple[str, ...], list[PlannedChange]] = {}
    for alike in sharing.values():
        hosts = tuple(dict.fromkeys(change.host for change in alike))
        groups.setdefault(hosts, []).append(alike[0])
    return [(hosts, change) for hosts, shared in groups.items() for change in shared]


def _show_change(console: Console, change: PlannedChange) -> None:
    console.show(Text.assemble("    ", (f"{console.symbols.change} ", "yellow"), one_line(change.resource)))
    lines = harmless(change.diff).strip("\n").splitlines()
    for line in lines[:_DIFF_LIMIT]:
        console.show(Text(f"        {shortened(line)}", style=_diff_style(line)))
    if len(lines) > _DIFF_LIMIT:
        console.line(f"        and {counted(len(lines) - _DIFF_LIMIT, 'more line')}", style="dim")


def _diff_style(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "bold"
    if line.startswith("@@"):
        return "cyan"
    return {"+": "green", "-": "red"}.get(line[:1], "")
