"""Several nodes that serve as one: what a head waits for, and what the others wait for of their head."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import units
from proofs import Proof

RUN = Path("/run")
HEAD_S = 3600  # how much longer than a start a node waits for its head, which may have to be set up first
NODES_S = 900  # how much longer than a start a head waits for its nodes, which may have more to install or to convert
ALONE_S = 120  # for a node that ends what it served and starts anew, when nobody is there any more who could say more
WORD_S = 20  # between words of a node that waits: whether anybody hears them tells whether the run is still there


class Gathering:
    """The other nodes of a head that starts: it cannot be ready before each of them is there.

    Args:
        request: The head's.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._unit, self._patience_s = request["unit"], request["patience_s"]
        self._begun = self._alone_since = time.monotonic()
        self._word, self._heard, self._were_there = self._begun + WORD_S, True, False

    @property
    def why(self) -> str:
        """Why it is not ready."""
        if self._were_there:
            return f"was not ready within {self._patience_s} s"
        return f"was not joined by the other nodes of the box within {time.monotonic() - self._begun:.0f} s"

    def look(self, end: float) -> float:
        """Until when the start may take, as far as is known now."""
        now = time.monotonic()
        if self._heard and now > self._word:
            self._word, self._heard = (
                now + WORD_S,
                units.say(f"{self._unit} is about to serve for all nodes of the box"),
            )
        if known_of_head(self._unit) == "joined":  # a head knows it of itself: all are there
            self._alone_since = now
            if not self._were_there:
                self._were_there, end = True, now + self._patience_s
        elif not self._heard:
            end = min(end, self._alone_since + ALONE_S)
        elif not self._were_there:
            end = min(now + self._patience_s, self._begun + self._patience_s + NODES_S)
        return end


def until_the_head_leaves(request: dict[str, Any], before: dict[str, Any]) -> None:
    """Wait until the head of the box has ended what it served by other settings: its requests in flight need this node.

    Raises:
        FailedError: It goes on with that; this node has ended nothing, and its files are what they were.
    """
    unit = request["unit"]
    if (before.get("box") or {}).get("settings") == request["box"]["settings"]:  # the head may have nothing to change
        return
    begun = time.monotonic()
    word, heard = begun + WORD_S, True
    while known_of_head(unit) in ("joined", "serves") and units.shown(unit, "ActiveState") == "active":
        now = time.monotonic()
        if now > word:
            word, heard = now + WORD_S, units.say(f"{unit} serves until the head of the box ends what it serves")
        if not heard or now > begun + HEAD_S:
            Proof(unit).put_back(before)
            units.systemctl("daemon-reload")
            units.complain(units.FailedError(f"{unit}: the head of the box goes on with what served before"))
            raise units.FailedError(f"{unit} serves {before['serves']} as before, with the files that it had.")
        time.sleep(0.5)


def until_the_head_serves(request: dict[str, Any]) -> None:
    """Wait until the head of the box is proven to serve by the same settings.

    Raises:
        FailedError: It went back to other ones, or does not come, or this node keeps ending.
    """
    unit, patience_s = request["unit"], request["patience_s"]
    begun = time.monotonic()
    end, word, joined, heard = begun + patience_s + HEAD_S, begun + WORD_S, False, True
    while (known := known_of_head(unit)) != "serves" or units.shown(unit, "ActiveState") != "active":
        now = time.monotonic()
        joined = joined or known == "joined"
        if joined and known == "other":
            raise units.FailedError(
                f"{unit}: the head of the box has gone back to what served before", units.journal(unit)
            )
        if int(units.shown(unit, "NRestarts") or 0) >= units.CRASHES:
            raise units.FailedError(f"{unit} ends as soon as it is started", units.journal(unit))
        if heard and now > word:
            word, heard = now + WORD_S, units.say(f"{unit} waits for the head of the box: {known}")
            if not heard:  # the run has ended; a head that is at it goes on, and this node with it
                on_its_own = joined and Proof(unit).request() is not None
                end = min(end, now + (patience_s if on_its_own else 0))
        if now > end:
            raise units.FailedError(
                f"{unit}: the head of the box did not serve within {now - begun:.0f} s", units.journal(unit)
            )
        time.sleep(0.5)


def known_of_head(unit: str) -> str:
    """What a node knows of its head, by run-node; it is the engine's own user who writes that.

    The head itself knows whether all the others are there: it has joined them, or waits.
    """
    place = RUN / unit.removesuffix(".service") / "head"
    try:
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            said = file.read(20)
    except OSError:
        return "waiting"
    return next((word for word in ("other", "joined", "serves") if said == word.encode()), "waiting")
