"""What an engine would not take is refused with what it takes, and what it takes comes through word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from boxwright.model.setting import Setting, Value

PRINTABLE = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=20)


def setting(**fields: Any) -> Setting:
    return Setting.model_validate({"name": "--x", "type": "text", **fields})


BOOLEAN = setting(type="boolean")
WHOLE = setting(type="integer")
LENGTH = setting(type="integer", suffixes=True, also=["auto"])
SHARE = setting(type="number")
TEXT = setting()
DTYPE = setting(type="choice", choices=["auto", "bfloat16", "half"])
WORDS = setting(type="list")
SIZES = setting(type="list", items="integer")
ORIGINS = setting(type="list", form="commas")
JSON = setting(type="json")


@pytest.mark.parametrize(
    ("one", "value", "problem"),
    [
        (BOOLEAN, "yes", "'--x' takes true or false; found 'yes'."),
        (BOOLEAN, 1, "'--x' takes true or false; found 1."),
        (WHOLE, "lots", "'--x' takes a whole number; found 'lots'."),
        (WHOLE, True, "'--x' takes a whole number; found true."),
        (WHOLE, 1.5, "'--x' takes a whole number; found 1.5."),
        (WHOLE, "32k", "'--x' takes a whole number; found '32k'."),
        (WHOLE, [1], "'--x' takes one value, a whole number; found [1]."),
        (LENGTH, "32kb", "'--x' takes a whole number, such as 32768 or 32k, or auto; found '32kb'."),
        (SHARE, "most", "'--x' takes a number; found 'most'."),
        (SHARE, "nan", "'--x' takes a number; found 'nan'."),
        (TEXT, 1.1, "'--x' takes text; found 1.1. Put it in quotes."),
        (TEXT, False, "'--x' takes text; found false. Put it in quotes."),
        (TEXT, {"a": 1}, "'--x' takes one value, text; found {'a': 1}."),
        (TEXT, "a\nb", "'--x' holds a line break or another control character"),
        (WORDS, ["a\0"], "'--x' holds a line break or another control character"),
        (DTYPE, "int4", "'--x' takes one of auto, bfloat16, half; found 'int4'."),
        (DTYPE, "bf16", "'--x' takes one of auto, bfloat16, half; found 'bf16'. Did you mean 'bfloat16'?"),
        (DTYPE, True, "'--x' takes one of auto, bfloat16, half; found true."),
        (WORDS, [], "'--x' takes at least one value, and the list is empty"),
        (WORDS, ["-a"], "'--x' takes '-a' for a flag: a value of a list cannot begin with a hyphen"),
        (WORDS, {"a": 1}, "'--x' takes a list; found {'a': 1}."),
        (SIZES, [1, "two"], "'--x' takes a whole number; found 'two'."),
        (ORIGINS, ["a,b"], "'--x' takes values between commas, and 'a,b' holds one"),
        (JSON, "{", "'--x' takes JSON; found '{'."),
        (JSON, 3, "'--x' takes JSON; found 3."),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_taken(one: Setting, value: Value, problem: str) -> None:
    assert one.problem(value) == problem


@pytest.mark.parametrize(
    ("one", "value", "words"),
    [
        (BOOLEAN, True, ("1",)),
        (setting(name="X", type="boolean", truth=["true", "false"]), False, ("false",)),
        (WHOLE, 8192, ("8192",)),
        (WHOLE, "-1", ("-1",)),
        (LENGTH, "32k", ("32k",)),
        (LENGTH, "auto", ("auto",)),
        (SHARE, 0.92, ("0.92",)),
        (SHARE, 1, ("1",)),
        (TEXT, 7, ("7",)),
        (DTYPE, "half", ("half",)),
        (WORDS, "alone", ("alone",)),
        (WORDS, ("a", 2), ("a", "2")),
        (SIZES, [1, -2], ("1", "-2")),
        (ORIGINS, ["a", "b"], ("a,b",)),
        (JSON, {"a": ["ü", 1]}, ('{"a":["ü",1]}',)),
        (JSON, '{"a": 1}', ('{"a": 1}',)),
    ],
)
def test_a_right_value_becomes_words(one: Setting, value: Value, words: tuple[str, ...]) -> None:
    assert one.problem(value) is None
    assert one.words(value) == words


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans()), max_size=4))
def test_json_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert JSON.problem(value) is None
    (word,) = JSON.words(value)
    assert json.loads(word) == value
    assert "\n" not in word


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was(value: float) -> None:
    assert SHARE.problem(value) is None
    assert float(SHARE.words(value)[0]) == value


@given(PRINTABLE)
def test_text_is_not_altered(value: str) -> None:
    assert TEXT.problem(value) is None
    assert TEXT.words(value) == (value,)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"type": "choice"}, "'--x' is a choice and has no choices"),
        ({"type": "integer", "choices": ["1"]}, "'--x' has choices and is no choice"),
        ({"since": "0.10.2", "until": "0.9.2"}, "'--x' begins with 0.10.2 and ends with 0.9.2"),
        ({"since": "newest"}, "String should match pattern"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        setting(**fields)
