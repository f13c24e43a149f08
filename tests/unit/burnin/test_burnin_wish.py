"""Parts and times of a burn-in, from what a person writes."""

from __future__ import annotations

import pytest

from boxwright.burnin.wish import wish_of
from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile


def test_without_a_word_it_is_all_that_the_profile_has() -> None:
    lab, cards = load_profile("lab"), load_profile("8x4090")
    assert wish_of(lab, minutes=60, only=(), keep=False).parts == ("cpu", "memory", "disk", "network")
    wish = wish_of(cards, minutes=60, only=(), keep=True)
    assert wish.parts == ("cpu", "memory", "disk", "network", "gpu")
    assert (wish.seconds, wish.keep) == (720, True)


def test_parts_keep_their_order_and_share_the_time() -> None:
    wish = wish_of(load_profile("lab"), minutes=0.5, only=("disk", "cpu"), keep=False)
    assert (wish.parts, wish.seconds) == (("cpu", "disk"), 15)


@pytest.mark.parametrize(
    ("minutes", "only", "said"),
    [
        (60, ("cpi",), "Did you mean 'cpu'?"),
        (60, ("gpu",), "a lab has no cards"),
        (0.1, (), "Add --minutes 0.4 or more"),
        (0, ("cpu",), "up to 10080, a week"),
        (float("nan"), ("cpu",), "up to 10080, a week"),
        (20_000, ("cpu",), "up to 10080, a week"),
    ],
)
def test_what_cannot_be_is_refused(minutes: float, only: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInputError, match=r".") as raised:
        wish_of(load_profile("lab"), minutes=minutes, only=only, keep=False)
    assert said in str(raised.value)


def test_the_least_time_that_is_named_is_taken() -> None:
    wish_of(load_profile("lab"), minutes=0.4, only=(), keep=False)
    wish_of(load_profile("8x4090"), minutes=0.5, only=(), keep=False)
