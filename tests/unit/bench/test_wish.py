"""Which steps a command line asks for."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.bench.wish import Wish, wish_of
from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile

SAID: dict[str, Any] = {"concurrency": "", "context": "", "answer": 64, "by": "", "timeout": 120.0}


def wish(name: str = "lab", **said: Any) -> Wish:
    return wish_of(load_profile(name), **SAID | said)


def test_what_is_left_out_follows_from_the_profile() -> None:
    assert wish() == Wish((1, 2), (512, 2048), 64, ("gateway", "engine"), 120.0)
    assert wish("4x4090").concurrency == (1, 2, 4, 8, 16, 24)


def test_one_request_alone_is_measured_where_the_profile_has_a_floor() -> None:
    told = wish(concurrency="4")
    assert (told.concurrency, told.one_added) == ((1, 4), True)
    assert not wish(concurrency="1,4").one_added
    assert wish("4x4090", concurrency="4").concurrency == (4,)


def test_what_is_said_wins_in_order_and_once() -> None:
    assert wish(concurrency="8, 1,1", context="900,300", by="engine").concurrency == (1, 8)
    assert wish(context="900,300").contexts == (300, 900)
    assert wish(by="engine").routes == ("engine",)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"concurrency": "a"}, "--concurrency: 'a' is no list of numbers"),
        ({"concurrency": "0"}, "0 is less than one"),
        ({"context": "8192"}, "8192 is more than the 4096 tokens that a request may have"),
        ({"context": "64"}, "leave nothing to a question"),
        ({"answer": 1}, "two tokens at least"),
        ({"timeout": 0.0}, "--timeout is above zero"),
        ({"by": "engin"}, "no 'engin'. Did you mean 'engine'"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        wish(**said)
    assert problem in str(caught.value)
