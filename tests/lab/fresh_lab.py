"""Labs of the tests: bare when a test begins, and gone when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boxwright.lab import Lab
from boxwright.model.site import Mirrors


@contextmanager
def fresh_lab(name: str) -> Iterator[Lab]:
    """A lab without twins.

    What a killed run of the tests left of it is removed first: its twins would start with what that run had done to
    them, and no test could call them bare.
    """
    lab = Lab(name, mirrors=Mirrors(), progress=print)
    lab.down()
    try:
        yield lab
    finally:
        lab.down()
