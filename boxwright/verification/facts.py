"""What a box told of itself in one answer, for checks that each need a part of it."""

from __future__ import annotations

from typing import Any


class Facts(dict[str, dict[str, Any]]):
    """What a program of `boxwright.verification.remote` told, by name."""

    def told(self, name: str) -> Any:
        """One fact; a fact that could not be told fails the check that needs it."""
        if "error" in self[name]:
            raise AssertionError(self[name]["error"])
        return self[name]["value"]
