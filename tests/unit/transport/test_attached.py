"""A script at the other end of a connection, and how both ends learn that the other one is gone.

In the place of ssh stands a bash that runs the script here.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.transport.attached import Attached
from boxwright.transport.ssh import Endpoint

BOX = Endpoint("box-1", "192.0.2.1", 22, "root", None, None, 1)
LONG_S = 30  # ends none of these tests


@pytest.fixture
def attach(stand_in: Callable[[str, str], None], own_places: Path) -> Iterator[Callable[[str], Attached]]:
    """Begins a script, and ends it after the test."""
    stand_in("ssh", 'eval "exec ${!#}"')
    begun: list[Attached] = []

    def attach(script: str) -> Attached:
        begun.append(Attached(BOX, script))
        return begun[-1]

    yield attach
    for one in begun:
        one.end(patience_s=0)


def test_it_answers_what_it_is_sent(attach: Callable[[str], Attached]) -> None:
    echo = attach('while read -r line; do echo "heard $line"; done')
    echo.send("one")
    echo.send("two")
    heard = echo.lines()
    assert [next(heard), next(heard)] == ["heard one\n", "heard two\n"]


def test_it_sees_the_end_of_its_input_and_is_waited_for(attach: Callable[[str], Attached], tmp_path: Path) -> None:
    attached = attach(f"cat >/dev/null; sleep 0.3; touch {tmp_path}/ended-in-order")
    assert attached.running
    attached.end(patience_s=LONG_S)
    assert not attached.running
    assert (tmp_path / "ended-in-order").exists()


def test_one_that_does_not_end_is_cut_off(attach: Callable[[str], Attached]) -> None:
    attached = attach("exec sleep 60")
    began = time.monotonic()
    attached.end(patience_s=0.2)
    assert attached.code() == -signal.SIGKILL
    assert time.monotonic() - began < LONG_S


def test_one_that_says_nothing_is_given_up(attach: Callable[[str], Attached]) -> None:
    silent = attach("exec sleep 60")
    began = time.monotonic()
    assert silent.first_line(0.3) == ""
    assert silent.code() == -signal.SIGKILL
    assert time.monotonic() - began < LONG_S


def test_how_it_ended_is_told(attach: Callable[[str], Attached]) -> None:
    """However much it says: what nobody reads must not stop it."""
    ended = attach("yes complaint | head -n 100000 >&2; echo last >&2; exit 7")
    assert ended.code() == 7
    assert ended.said().endswith("complaint\nlast")
    assert len(ended.said()) <= 4000


def test_sending_to_one_that_is_gone_is_no_error(attach: Callable[[str], Attached]) -> None:
    gone = attach("exit 3")
    assert gone.code() == 3
    gone.send("hello")
