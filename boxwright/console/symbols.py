"""The few signs beyond letters that the console draws, and what stands for them where they are lacking."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symbols:
    """One set of signs."""

    done: str
    failed: str
    waiting: str
    change: str
    next: str
    ellipsis: str
    spinner: str  # one frame a character

    def frame(self, seconds: float) -> str:
        """Return the spinner's sign at a moment."""
        return self.spinner[int(seconds * 8) % len(self.spinner)]


UNICODE = Symbols(done="✓", failed="✗", waiting="•", change="~", next="→", ellipsis="…", spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII = Symbols(done="+", failed="x", waiting="*", change="~", next="->", ellipsis="...", spinner="|/-\\")


def symbols_for(encoding: str) -> Symbols:
    """Return the signs that the encoding of a stream can write."""
    try:
        f"{UNICODE.done}{UNICODE.failed}{UNICODE.waiting}{UNICODE.next}{UNICODE.spinner}".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
