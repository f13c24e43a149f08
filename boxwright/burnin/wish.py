"""Which parts of a box are loaded, and for how long. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.profile import Profile

Part = Literal["cpu", "memory", "disk", "network", "gpu"]
PARTS: tuple[Part, ...] = get_args(Part)
_SHORTEST_S = 6  # of a part: fewer, and stress-ng has not gone through its methods once
_LONGEST_MIN = 7 * 24 * 60


@dataclass(frozen=True)
class Wish:
    """What a person asked for.

    Attributes:
        parts: In the order in which they are loaded, one after the other.
        seconds: For each of them.
        keep: Leave the packages for the next burn-in.
    """

    parts: tuple[Part, ...]
    seconds: int
    keep: bool = False


def parts_of(profile: Profile) -> tuple[Part, ...]:
    """Every part that a machine of this kind has."""
    return tuple(part for part in PARTS if part != "gpu" or profile.hardware.accelerators)


def wish_of(profile: Profile, *, minutes: float, only: tuple[str, ...], keep: bool) -> Wish:
    """The parts that a command line asks for; without a word, all that the profile has.

    Raises:
        BadInputError: There is no such part, or no such time.
    """
    for name in only:
        if name not in PARTS:
            raise BadInputError(f"--only: no '{name}'.{did_you_mean(name, PARTS)}", hint=f"There are: {_said(PARTS)}.")
    if "gpu" in only and "gpu" not in parts_of(profile):
        raise BadInputError(f"--only: a {profile.name} has no cards", hint=f"There are: {_said(PARTS[:-1])}.")
    parts = tuple(part for part in parts_of(profile) if not only or part in only)
    if not math.isfinite(minutes) or not 0 < minutes <= _LONGEST_MIN:
        raise BadInputError(f"--minutes {minutes:g}: a burn-in takes up to {_LONGEST_MIN}, a week")
    seconds = int(minutes * 60 / len(parts))
    if seconds < _SHORTEST_S:
        least = math.ceil(_SHORTEST_S * len(parts) / 6) / 10
        raise BadInputError(
            f"--minutes {minutes:g}: each of {_said(parts)} takes {_SHORTEST_S} s at least",
            hint=f"Add --minutes {least:g} or more, or name fewer by --only.",
        )
    return Wish(parts, seconds, keep)


def _said(parts: tuple[str, ...]) -> str:
    return ", ".join(parts)
