"""Where pages that people read get their templates from: whatever is put into them is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


@cache
def page_templates(folder: str) -> Environment:
    """The templates of a folder below `templates/`."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES / folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
