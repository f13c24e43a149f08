"""One of several nodes, that is not their head: it serves when its head is proven to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import units
from proofs import Proof

RUN = Path("/run")
HEAD_S = 3600  # how much longer than a start a node waits for its head, which may have to be set up first
WORD_S = 20  # between words of a node that waits: whether anybody hears them tells whether the run is still there


def until_it_serves(request: dict[str, Any]) -> None:
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
    """What a node knows of its head, by run-node; it is the engine's own user who writes that."""
    place = RUN / unit.removesuffix(".service") / "head"
    try:
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            said = file.read(20)
    except OSError:
        return "waiting"
    return next((word for word in ("other", "joined", "serves") if said == word.encode()), "waiting")
