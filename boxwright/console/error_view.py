"""How an error looks: what, where, why, the end of the output, and what to do next."""

from __future__ import annotations

from typing import Any

from rich.box import HORIZONTALS
from rich.panel import Panel
from rich.text import Text

from boxwright.console.symbols import Symbols
from boxwright.console.text import harmless, last_lines, one_line, shortened
from boxwright.errors import BoxwrightError


def error_fields(error: BoxwrightError) -> dict[str, Any]:
    """Return an error as the payload of its JSON line."""
    lines, _ = last_lines(error.output)
    return {
        "error": type(error).__name__,
        "message": error.message,
        "where": error.where,
        "why": _why(error),
        "hint": error.hint,
        "output": lines,
        "exit_code": int(error.exit_code),
    }


def error_lines(error: BoxwrightError) -> list[str]:
    """Return an error as plain lines."""
    lines = [f"error: {shortened(one_line(error.message))}"]
    if error.where:
        lines.append(f"  where: {one_line(error.where)}")
    if why := _why(error):
        lines.append(f"  why: {why}")
    output, earlier = last_lines(error.output)
    if output:
        lines.append(f"  {_output_heading(len(output), earlier)}")
        lines += [f"    {line}" for line in output]
    if error.hint:
        lines.append(f"  next: {one_line(error.hint)}")
    return lines


def error_panel(error: BoxwrightError, symbols: Symbols) -> Panel:
    """Return an error as a panel. It has no sides, so that its lines can be copied."""
    body = Text(shortened(harmless(error.message).strip()), style="bold")
    if error.where:
        body.append("\n").append("where  ", style="not bold dim").append(one_line(error.where), style="not bold")
    if why := _why(error):
        body.append("\n").append("why    ", style="not bold dim").append(why, style="not bold")
    output, earlier = last_lines(error.output)
    if output:
        body.append(f"\n\n{_output_heading(len(output), earlier)}", style="not bold dim")
        body.append("\n" + "\n".join(f"  {line}" for line in output), style="not bold")
    if error.hint:
        body.append(f"\n\n{symbols.next} ", style="cyan").append(harmless(error.hint).strip(), style="not bold")
    return Panel(
        body,
        title=Text(f"{symbols.failed} error", style="bold red"),
        title_align="left",
        border_style="red",
        box=HORIZONTALS,
        padding=(0, 1),
    )


def _why(error: BoxwrightError) -> str:
    """Return the error's cause in words, unless its own message tells it already."""
    cause = error.__cause__
    if cause is None:
        return ""
    words = shortened(one_line(str(cause)))
    return "" if not words or words in one_line(error.message) else f"{type(cause).__name__}: {words}"


def _output_heading(shown: int, earlier: int) -> str:
    return f"output, its last {shown} of {shown + earlier} lines:" if earlier else "output:"
