"""Writes the part of a table that is made by this tool, and leaves the part above it as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from boxwright.model.engine_settings import Release

MARK = "settings:"
Rows = Sequence[Mapping[str, Any]]
_ORDER = ("name", "type", "choices", "items", "form", "suffixes", "also", "truth", "opposite", "default", "aliases")
_PLAIN = re.compile(r"(--?)?[A-Za-z_/][A-Za-z0-9_./+-]*|[0-9]+\.[0-9]+\.[0-9]+[a-z0-9.]*")
_NOT_TEXT = {"false", "n", "no", "null", "off", "on", "true", "y", "yes"}


def releases(path: Path) -> list[Release]:
    """The releases that a file names. It may be wrong otherwise, as it is to be made anew."""
    head = yaml.safe_load(path.read_text(encoding="utf-8").partition(f"\n{MARK}")[0])
    return [Release.model_validate(release) for release in head["releases"]]


def write(path: Path, made: Mapping[str, Rows]) -> bool:
    """Put these rows, by the section that they belong to, in the place of those that the file has.

    Returns:
        Whether the file is another one now.
    """
    before = path.read_text(encoding="utf-8")
    after = text(before, made)
    path.write_text(after, encoding="utf-8")
    return before != after


def text(before: str, made: Mapping[str, Rows]) -> str:
    """The file with these rows, by section.

    Raises:
        ValueError: The file has no line that says where they begin.
    """
    head, mark, _ = before.partition(f"\n{MARK}")
    if not mark:
        raise ValueError(f"no line begins with '{MARK}'")
    sections = [
        f"{name}:  # made by tools/engine_settings\n" + "".join(_line(row) for row in rows)
        for name, rows in made.items()
        if rows
    ]
    return f"{head}\n" + "".join(sections)


def _line(row: Mapping[str, Any]) -> str:
    """A row in one line, so that a change of an engine is a change of lines."""
    keys = sorted(row, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    words = []
    for key in keys:
        value = row[key]
        word = f"[{', '.join(_scalar(item) for item in value)}]" if isinstance(value, list) else _scalar(value)
        words.append(f"{key}: {word}")
    return f"  - {{{', '.join(words)}}}\n"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    word = str(value)
    plain = _PLAIN.fullmatch(word) and word.lower() not in _NOT_TEXT
    return word if plain else json.dumps(word, ensure_ascii=False)
