"""Programs that run on the box itself, on its own Python and nothing else. `source` gives their text."""

from __future__ import annotations

from pathlib import Path


def source(name: str) -> str:
    """The text of one program of this package, `find_secrets` for example."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
