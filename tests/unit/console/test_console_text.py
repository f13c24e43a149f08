from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.console.symbols import ASCII, UNICODE, symbols_for
from boxwright.console.text import aligned, duration, harmless, last_lines, named, one_line, shortened

HOSTILE = st.text(st.one_of(st.sampled_from("\x1b[]0;31mPX^_\\\x07\x9b\x9c\x9d\r\n\t\u202e"), st.characters()))


@given(HOSTILE)
def test_nothing_that_a_terminal_acts_on_survives(text: str) -> None:
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", harmless(text))


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_ordinary_text_of_any_script_is_left_alone(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;new title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ends\nnext line", "\nnext line"),
        ("\x9b31mred", "red"),
        ("\x1b[2J\x1b[Hgone?", "gone?"),
        ("\x1b(Bplain", "plain"),
        ("windows\r\nline", "windows\nline"),
        ("rm -rf /\rls", "rm -rf /\nls"),
        ("a\tb", "a       b"),
        ("\x1b\x1b[0m[31m", "[31m"),
        ("mo\u202etxt.exe", "motxt.exe"),
    ],
)
def test_escape_sequences_go_and_their_text_stays(raw: str, shown: str) -> None:
    assert harmless(raw) == shown


def test_last_lines_skips_the_empty_and_counts_the_rest() -> None:
    assert last_lines("\n\n".join(f"line {i}" for i in range(43)) + "\n\n", 2) == (["line 41", "line 42"], 41)
    assert last_lines("") == ([], 0)


def test_a_progress_bar_does_not_push_the_reason_away() -> None:
    bar = "".join(f"\r{percent} %" for percent in range(100))
    assert last_lines(f"{bar}\nE: No space left", 1) == (["E: No space left"], 100)


def test_a_very_long_line_is_cut_and_says_so() -> None:
    assert shortened("y" * 1000) == "y" * 300 + " (and 700 more characters)"
    assert len(last_lines("y" * 1_000_000)[0][0]) < 340


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3780, "1 h 03 min"),
    ],
)
def test_durations_read_well_at_their_edges(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_names_are_cut_after_a_few() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named(list("abcdef"), limit=4) == "a, b, c, d and 2 more"


def test_columns_stand_under_each_other_with_wide_characters() -> None:
    assert aligned([["团队", "x"], ["abcd", "y"], ["a", ""]]) == ["团队  x", "abcd  y", "a"]


def test_one_line_has_one_line() -> None:
    assert one_line(" a\n\x1b[1m b\r\tc ") == "a b c"


def test_signs_fall_back_where_the_encoding_lacks_them() -> None:
    assert symbols_for("utf-8") is UNICODE
    assert symbols_for("latin-1") is symbols_for("ascii") is symbols_for("no-such-encoding") is ASCII
