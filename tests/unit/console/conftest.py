"""Streams that look like a terminal, and consoles that write to them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from boxwright.console import Console


class Terminal(io.StringIO):
    """A stream that says that a person watches it, and whose person may have typed something."""

    def isatty(self) -> bool:
        return True


class Recorded:
    """A console and what it wrote."""

    def __init__(self, *, terminal: bool = False, json: bool = False, width: int | None = None, typed: str = ""):
        stream = Terminal if terminal else io.StringIO
        self.stdout, self.stderr = stream(), stream()
        self.console = Console(json=json, stdout=self.stdout, stderr=self.stderr, stdin=Terminal(typed), width=width)

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines; fails if anything else is on it."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    """Make a console that records, whatever terminal the tests run in."""
    for name in (
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
        "TTY_COMPATIBLE",
        "TTY_INTERACTIVE",
        "COLORTERM",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Recorded
