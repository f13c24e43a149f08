"""How a verification looks: what does not hold comes first, with what was found and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from boxwright.console.console import Console
from boxwright.console.text import counted, one_line, padded, shortened

Result = Literal["fail", "waived", "unproven", "pass"]
Severity = Literal["critical", "major", "minor"]
_STYLE: dict[Result, str] = {"fail": "bold red", "waived": "yellow", "unproven": "cyan", "pass": "green"}
_WITH_REMEDY = {"fail", "waived"}
_ORDER = list(_STYLE)
_COLUMNS_OF_TABLE = 120  # of the terminal; in fewer, words of a table's cells are cut to pieces
_WORST_FIRST: list[Severity] = ["critical", "major", "minor"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check of a verification ended. A check that could not run has failed.

    Attributes:
        host: The host that was checked.
        id: The check's stable name.
        what: What should hold, as a sentence.
        severity: What it means where it does not.
        result: Whether it does; `waived` when a named person accepted that it does not, `unproven` when
            it cannot be looked at here.
        evidence: What was found; for a waiver also who gave it and why.
        remedy: What to do when it does not hold.
    """

    host: str
    id: str
    what: str
    severity: Severity
    result: Result
    evidence: str = ""
    remedy: str = ""


def show_checks(console: Console, checks: Sequence[CheckResult]) -> None:
    """Show checks, failures first and of those the gravest, and their counts. That none ran is a failure, too."""
    ordered = sorted(checks, key=lambda check: (_ORDER.index(check.result), _WORST_FIRST.index(check.severity)))
    counts: dict[str, int] = {result: sum(check.result == result for check in checks) for result in _ORDER}
    if console.json:
        for check in ordered:
            console.data("check", asdict(check))
        console.data("checks", counts)
        return
    if not checks:
        console.line("No check ran, so nothing is verified.", style=_STYLE["fail"])
        return
    with_host = len({check.host for check in checks}) > 1
    if console.live:
        # Of a whole batch, a thousand lines of what is right would push what is wrong off the screen.
        listed = [check for check in ordered if check.result != "pass"] if with_host else ordered
        draw = _table if console.screen.width >= _COLUMNS_OF_TABLE else _list
        console.line()
        if listed:
            console.show(draw(console, listed, with_host=with_host))
            console.line()
        if with_host:
            _count_passed(console, checks)
    else:
        for line in _lines(ordered, with_host=with_host):
            console.line(line)
    if counts["pass"] < len(checks):
        worst: Result = next(result for result in _ORDER if counts[result])
        unproven = f"{counts['unproven']} unproven here, " if counts["unproven"] else ""
        words = f"{counts['fail']} failed, {counts['waived']} waived, {unproven}{counts['pass']} passed."
        console.line(words, style=_STYLE[worst])
    else:
        console.success(f"{counted(len(checks), 'check')} passed.")


def _count_passed(console: Console, checks: Sequence[CheckResult]) -> None:
    """Say of each host how many of its checks passed; one host is verified alone where somebody wants to read them."""
    for host in dict.fromkeys(check.host for check in checks):
        own = [check.result for check in checks if check.host == host]
        console.line(f"{one_line(host)}: {own.count('pass')} of {counted(len(own), 'check')} passed")
    console.line("./invoke verify with --host lists those that passed.", style="dim")


def _list(console: Console, checks: Sequence[CheckResult], *, with_host: bool) -> Table:
    """The table for a terminal that is too narrow for its columns: each check below its name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        names = [one_line(check.host)] if with_host else []
        told = Text("  ".join([*names, one_line(check.id), check.severity]), style="bold")
        found = f": {shortened(one_line(check.evidence))}" if check.evidence else ""
        told.append(f"\n{one_line(check.what)}{found}", style="not bold")
        if check.remedy and check.result in _WITH_REMEDY:
            told.append(f"\n{console.symbols.next} {one_line(check.remedy)}", style="not bold cyan")
        grid.add_row(Text(check.result, style=_STYLE[check.result]), told)
    return grid


def _table(console: Console, checks: Sequence[CheckResult], *, with_host: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for title in (["Host"] if with_host else []) + ["Result", "Severity", "Check", "What", "Found"]:
        table.add_column(title, overflow="fold", no_wrap=title in ("Result", "Severity"))
    for check in checks:
        style = _STYLE[check.result]
        found = Text(shortened(one_line(check.evidence)))
        if check.remedy and check.result in _WITH_REMEDY:
            found.append(f"\n{console.symbols.next} {one_line(check.remedy)}", style="cyan")
        host = [Text(one_line(check.host))] if with_host else []
        verdict = (Text(check.result, style=style), Text(check.severity))
        table.add_row(*host, *verdict, Text(check.id), Text(one_line(check.what)), found)
    return table


def _lines(checks: Sequence[CheckResult], *, with_host: bool) -> list[str]:
    lines = []
    for check in checks:
        host = f"{one_line(check.host)}  " if with_host else ""
        evidence = f": {shortened(one_line(check.evidence))}" if check.evidence else ""
        verdict = f"{padded(check.result, 8)}  {padded(check.severity, 8)}"
        lines.append(f"{verdict}  {host}{one_line(check.id)}  {one_line(check.what)}{evidence}")
        if check.remedy and check.result in _WITH_REMEDY:
            lines.append(f"          next: {one_line(check.remedy)}")
    return lines
