"""The nodes of one box, which load the network between them in turns: each sends to the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from boxwright.burnin.session import StoppedError
from boxwright.model.site import Host
from boxwright.planning.addresses import between_nodes

_LOOK_S = 0.5


class Ring:
    """Where the threads of a box's nodes meet.

    Args:
        nodes: The machines of the box, in order.
    """

    def __init__(self, nodes: tuple[Host, ...]) -> None:
        self._nodes = nodes
        self._changed = threading.Condition()
        self._places: dict[str, int] = {}
        self._lost: str = ""
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._nodes)

    def next_of(self, host: Host) -> Host:
        """The node that a node sends to."""
        place = [one.name for one in self._nodes].index(host.name)
        return self._nodes[(place + 1) % len(self._nodes)]

    @staticmethod
    def address_of(host: Host) -> str:
        """Where other nodes reach one."""
        return between_nodes(host)

    def meet(self, host: Host, check: Callable[[], None]) -> None:
        """Wait until every node is as far.

        Args:
            host: Whose thread this is.
            check: Called again and again; it raises where the burn-in is to end.

        Raises:
            StoppedError: Another node will not come.
        """
        with self._changed:
            place = self._places[host.name] = self._places.get(host.name, 0) + 1
            self._changed.notify_all()
            while any(self._places.get(one.name, 0) < place for one in self._nodes):
                if self._lost:
                    raise StoppedError(f"node {self._lost} of the same box stopped", where=host.name)
                check()
                self._changed.wait(_LOOK_S)

    def leave(self, host: Host) -> None:
        """Say that a node will not come any more."""
        with self._changed:
            self._lost = self._lost or host.name
            self._changed.notify_all()

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """Be the one node that sends."""
        while not self._turn.acquire(timeout=_LOOK_S):
            check()
        try:
            yield
        finally:
            self._turn.release()
