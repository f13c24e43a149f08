"""Releases sort as their makers number them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.model.versions import is_patch_of, release_key

SHUFFLED = ["0.33", "0.10.2", "0.8.5.post1", "1.0", "0.7.3", "0.33.1", "0.9.2", "0.8.5rc2", "0.10.1.1", "0.8.5"]
ASCENDING = ["0.7.3", "0.8.5rc2", "0.8.5", "0.8.5.post1", "0.9.2", "0.10.1.1", "0.10.2", "0.33", "0.33.1", "1.0"]


def test_releases_sort_by_number_and_not_by_letter() -> None:
    assert sorted(SHUFFLED, key=release_key) == ASCENDING
    assert release_key("b9999") < release_key("b11669")


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_noughts_at_the_end_make_no_other_release(numbers: list[int]) -> None:
    text = ".".join(map(str, numbers))
    assert release_key(text) == release_key(f"{text}.0.0")


@pytest.mark.parametrize("text", ["", "latest", "v", "1.", ".1", "1..2", "1.2-3", "1.2.post", "0.33.0+cpu"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        release_key(text)


@pytest.mark.parametrize(
    ("version", "other", "patch"),
    [
        ("0.33.3", "0.33.0", True),
        ("0.33.3.post1", "0.33", True),
        ("0.34.0", "0.33.0", False),
        ("1.33.0", "0.33.0", False),
        ("b11670", "b11669", False),
    ],
)
def test_a_patch_differs_in_the_third_number(version: str, other: str, patch: bool) -> None:
    assert is_patch_of(version, other) is patch
