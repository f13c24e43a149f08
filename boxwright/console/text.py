"""Text on its way to a terminal: what hosts say is made harmless, numbers are made readable."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

# A title or a device string that never ends stops at the end of its line: it must not swallow the rest.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC and its kin
    r"|\x1b[ -/]*[0-Z\\-~]"  # the short ones
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Overrides of the writing direction can show a line other than it is.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE_END = re.compile("\r\n|[\r\x85\u2028\u2029]")
_LINE_LIMIT = 300


def harmless(text: str) -> str:
    """Return `text` without anything that a terminal would act on; only line ends stay.

    A lone carriage return becomes a line end, so that nothing can be overwritten and thereby hidden.
    """
    text = _ESCAPE_SEQUENCE.sub("", text)
    text = _LINE_END.sub("\n", text)
    text = _DIRECTION.sub("", text).expandtabs(8)
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    """Return `text` harmless and on one line, single-spaced."""
    return " ".join(harmless(text).split())


def shortened(line: str, limit: int = _LINE_LIMIT) -> str:
    """Return `line`, or its first `limit` characters and how many more there are."""
    if len(line) <= limit:
        return line
    return f"{line[:limit]} (and {len(line) - limit} more characters)"


def last_lines(output: str, count: int = 10) -> tuple[list[str], int]:
    """Return the last `count` lines of a program's output, and how many lines came before them.

    Empty lines count for nothing: they would push the reason off the screen.
    """
    lines = [line.rstrip() for line in harmless(output).splitlines() if line.strip()]
    return [shortened(line) for line in lines[-count:]], max(0, len(lines) - count)


def duration(seconds: float) -> str:
    """Return a time as a person says it: `3.2 s`, `42 s`, `2 min 05 s`, `1 h 03 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(count: int, noun: str) -> str:
    """Return `1 host`, `2 hosts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def named(names: Sequence[str], limit: int = 4) -> str:
    """Return a list of names as a phrase, cut after `limit` of them."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def padded(text: str, width: int) -> str:
    """Return `text` filled with spaces to `width` terminal cells; a wide character takes two."""
    return text + " " * max(0, width - cell_len(text))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines whose columns stand under each other."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
