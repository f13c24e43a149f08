"""How far the clock of a box may be from this machine's. Pure."""

from __future__ import annotations

# Tokens, certificates and the logs of two machines stand this much.
MOST_OFFSET_S = 2.0
# A crystal that is 20 ppm off, which is common, takes five weeks for this. Codes of authenticators stop to fit at 30 s,
# Kerberos at 300 s.
MOST_FREE_OFFSET_S = 60.0
# The hardware clock tells whole seconds.
_HARDWARE_TELLS_S = 1.0


def offset(before: float, there: float, after: float) -> float:
    """Seconds that a clock is ahead of this machine's, at the least; below zero, behind. 0: no difference can be told.

    Args:
        before: This machine's clock when the question was sent.
        there: The other clock, read at some moment between the two.
        after: This machine's clock when the answer was there.
    """
    if there > after:
        return there - after
    return min(there - before, 0.0)


def told(seconds: float) -> str:
    """An offset in words."""
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"


def hardware_trouble(hardware: float | None, system: float) -> str:
    """What is wrong with the clock that sets the system's at each boot; empty if nothing is.

    Args:
        hardware: What the hardware clock tells, in seconds since 1970; None where there is none.
        system: What the system's clock told then.
    """
    if hardware is None:
        return "it has no hardware clock to take the time from at its next boot"
    difference = hardware - system
    if abs(difference) <= MOST_FREE_OFFSET_S + _HARDWARE_TELLS_S:
        return ""
    return f"its hardware clock, which sets it at the next boot, is {told(difference)} the system's"
