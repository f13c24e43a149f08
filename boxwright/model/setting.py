"""One setting of an engine: a flag or an environment variable, what it takes, and which releases have it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import model_validator

from boxwright.errors import did_you_mean
from boxwright.model.base import Frozen
from boxwright.model.versions import ReleaseName, in_span, release_key

Scalar = bool | int | float | str
Value = Scalar | Sequence[Scalar] | Mapping[str, Any]

SettingType = Literal["boolean", "integer", "number", "text", "choice", "list", "json"]
ItemType = Literal["text", "integer", "number"]

_WHOLE = re.compile(r"[+-]?[0-9]+")
_WITH_SUFFIX = re.compile(r"[0-9]+(\.[0-9]+)?[kKmMgGtT]")
_NEGATIVE_NUMBER = re.compile(r"-[0-9]+|-[0-9]*\.[0-9]+")  # what argparse takes for a value and not for a flag


class Setting(Frozen):
    """A setting over a span of releases in which it takes the same values.

    A name whose values changed stands several times, with spans that do not meet.
    """

    name: str  # as the engine spells it: --max-model-len, OLLAMA_HOST
    aliases: tuple[str, ...] = ()  # other spellings of a flag that the engine takes
    type: SettingType
    choices: tuple[str, ...] = ()  # of a choice, or of the items of a list
    items: ItemType = "text"  # of a list
    form: Literal["words", "repeat", "commas"] = "words"  # of a list: --x a b, or --x a --x b, or --x a,b
    suffixes: bool = False  # of an integer: also 32k (thousands) and 32K (1024s)
    also: tuple[str, ...] = ()  # words that a number may be instead, such as auto
    truth: tuple[str, str] = ("1", "0")  # of a boolean variable: what stands for true and for false
    opposite: str | None = None  # of a boolean flag: the one that turns it off; None: it is left out
    default: str | None = None  # in the last release of the span; None: nothing, or worked out at run time
    since: ReleaseName | None = None  # first release known to have it; None: the first one that was read
    until: ReleaseName | None = None  # last one; None: the last one that was read
    absent: Literal["never", "before"] | None = None  # no release had it, or only some before the first that was read
    instead: str | None = None  # what to write, or why it is gone
    instead_of: dict[str, str] = {}  # the same, of values that it does not take (any more)
    reserved: str | None = None  # why a profile may not set it: Boxwright does

    @property
    def kind(self) -> Literal["flag", "environment"]:
        """Whether it stands on the command line or in the environment."""
        return "flag" if self.name.startswith("-") else "environment"

    @model_validator(mode="after")
    def _choices_fit(self) -> Setting:
        if (self.type == "choice") and not self.choices:
            raise ValueError(f"'{self.name}' is a choice and has no choices")
        if self.choices and self.type not in ("choice", "list"):
            raise ValueError(f"'{self.name}' has choices and is no choice")
        if self.since and self.until and release_key(self.since) > release_key(self.until):
            raise ValueError(f"'{self.name}' begins with {self.since} and ends with {self.until}")
        return self

    def has(self, version: str) -> bool:
        """Whether a release lies in the span."""
        return not self.absent and in_span(version, self.since, self.until)

    def problem(self, value: Value) -> str | None:
        """Why the engine would not take this value, in one sentence; None if it would."""
        wrong = self._wrong(value)
        if wrong is None and any(character < " " or character == "\x7f" for character in _all_text(value)):
            return f"'{self.name}' holds a line break or another control character"
        return wrong

    def words(self, value: Value) -> tuple[str, ...]:
        """The value as text: one word, or as many as a list has items. Only for a value that has no problem."""
        if self.type == "boolean":
            return (self.truth[0] if value else self.truth[1],)
        if self.type == "list":
            items = tuple(self._word(item) for item in _items(value))
            return (",".join(items),) if self.form == "commas" else items
        if self.type == "json" and not isinstance(value, str):
            return (json.dumps(value, ensure_ascii=False, separators=(",", ":")),)
        return (self._word(value),)

    def _word(self, value: Any) -> str:
        """A single value as text. YAML's `true` and `false` are 1 and 0 where a choice knows those as numbers alone."""
        word = _text(value)
        if isinstance(value, bool) and word not in self.choices and {"0", "1"} <= set(self.choices):
            return str(int(value))
        return word

    def _wrong(self, value: Value) -> str | None:
        if self.type == "boolean":
            return None if isinstance(value, bool) else self._takes("true or false", value)
        if self.type == "list":
            return self._wrong_list(value)
        if self.type == "json":
            return self._wrong_json(value)
        if isinstance(value, Mapping) or not isinstance(value, bool | int | float | str):
            return self._takes(f"one value, {self._expected(self.type)}", value)
        return self._wrong_scalar(self.type, value)

    def _wrong_scalar(self, kind: str, value: Scalar) -> str | None:
        if self.choices:
            word = self._word(value)
            near = "" if word in self.choices else did_you_mean(word, self.choices)
            return None if word in self.choices else self._takes(f"one of {', '.join(self.choices)}", value) + near
        if kind == "text":
            if isinstance(value, bool | float):
                return self._takes("text", value) + " Put it in quotes."
            return None
        if isinstance(value, str) and value in self.also:
            return None
        fits = _is_whole(value) if kind == "integer" else _is_number(value)
        if not fits and self.suffixes and isinstance(value, str):
            fits = _WITH_SUFFIX.fullmatch(value) is not None
        return None if fits else self._takes(self._expected(kind), value)

    def _wrong_list(self, value: Value) -> str | None:
        if isinstance(value, Mapping):
            return self._takes(self._expected("list"), value)
        items = _items(value)
        if not items and self.form == "words":
            return f"'{self.name}' takes at least one value, and the list is empty"
        for item in items:
            wrong = self._wrong_scalar(self.items, item)
            if wrong:
                return wrong
            word = _text(item)
            if self.form == "commas" and "," in word:
                return f"'{self.name}' takes values between commas, and '{word}' holds one"
            if self.form == "words" and word.startswith("-") and not _NEGATIVE_NUMBER.fullmatch(word):
                return f"'{self.name}' takes '{word}' for a flag: a value of a list cannot begin with a hyphen"
        return None

    def _wrong_json(self, value: Value) -> str | None:
        if isinstance(value, str):
            try:
                json.loads(value)
            except ValueError:
                return self._takes("JSON", value)
            return None
        return self._takes("JSON", value) if isinstance(value, bool | int | float) else None

    def _expected(self, kind: str) -> str:
        if kind == "list":
            return "a list" if self.items == "text" else f"a list, of which each item is {self._expected(self.items)}"
        if kind in ("choice", "text"):
            return f"one of {', '.join(self.choices)}" if self.choices else "text"
        number = "a whole number" if kind == "integer" else "a number"
        number += ", such as 32768 or 32k" if self.suffixes else ""
        return f"{number}, or {' or '.join(self.also)}" if self.also else number

    def _takes(self, expected: str, value: Value) -> str:
        found = repr(value) if isinstance(value, str) else _text(value)
        return f"'{self.name}' takes {expected}; found {found}."


def _items(value: Value) -> Sequence[Scalar]:
    if isinstance(value, str | bool | int | float):
        return (value,)
    return tuple(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _all_text(value: Value) -> str:
    if isinstance(value, Mapping):
        return ""  # JSON writes control characters as escapes
    return "".join(_text(item) for item in _items(value))


def _is_whole(value: Scalar) -> bool:
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Scalar) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
