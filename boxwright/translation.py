"""The sentences of pages that people read, in each language: `words.LANGUAGE.yml` beside a page's template."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup
from ruamel.yaml import YAML

LANGUAGES = ("en", "zh")
# A line of YAML that is folded leaves a space, and Chinese has none behind its punctuation or within its words.
_FOLDED = re.compile(r"(?<=[\u3000-\u303f\uff00-\uffef]) |(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")


@cache
def words(folder: Path, language: str) -> dict[str, str]:
    """The sentences of a language: trusted, they are ours; what is put into them is escaped."""
    whole = {name: _FOLDED.sub("", text.strip()) for name, text in table(folder / f"words.{language}.yml").items()}
    return {name: Markup(text) for name, text in whole.items()}  # noqa: S704


@cache
def table(path: Path) -> dict[str, str]:
    """A file of names and their texts, as it is."""
    loaded: dict[str, str] = YAML(typ="safe").load(path)
    return loaded
