"""The machines of one box on their way through a run: they stop together, and wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from boxwright.engines.process import Cancellation

_LOOK_S = 0.2
_SAID_AFTER_S = 5.0  # machines of a kind are seldom further apart, unless one of them has more to do


class Box:
    """What the runs of one box's machines share.

    Args:
        cancellation: Ends with the run, and when a machine of the box fails: then all of them stop.
        hosts: Names of its machines that the run is about.
    """

    def __init__(self, cancellation: Cancellation, hosts: Collection[str]) -> None:
        self.cancellation = cancellation
        self._hosts = frozenset(hosts)
        self._there: dict[str, set[str]] = {}
        self._arrival = threading.Condition()

    @property
    def alone(self) -> bool:
        """Whether it is one machine, which waits for nobody."""
        return len(self._hosts) == 1

    def meet(self, host: str, point: str, over: Callable[[], bool], waiting: Callable[[str], None]) -> None:
        """Wait until every machine of the box has come to a point of its way, or until it is over for this one.

        Args:
            host: Which machine has come there.
            point: Where; each is passed once.
            over: Says that nobody has to wait any more.
            waiting: Told once, when others have not come for a while, who they are.
        """
        said, begun = False, time.monotonic()
        with self._arrival:
            there = self._there.setdefault(point, set())
            there.add(host)
            self._arrival.notify_all()
            while (missing := self._hosts - there) and not over():
                if not said and time.monotonic() - begun > _SAID_AFTER_S:
                    waiting(", ".join(sorted(missing)))
                    said = True
                self._arrival.wait(_LOOK_S)
