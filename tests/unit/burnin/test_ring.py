"""The nodes of a box meet, take turns, and do not wait for one that is gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from boxwright.burnin.ring import Ring
from boxwright.burnin.session import StoppedError
from boxwright.model.site import Host

NODES = tuple(Host(name=f"n{number}", address=f"198.51.100.{number}") for number in (1, 2, 3))


def nothing() -> None:
    """Go on."""


def test_each_sends_to_the_next_and_they_meet_twice() -> None:
    ring, order, lock = Ring(NODES), list[str](), threading.Lock()

    def node(host: Host) -> str:
        for word in ("first", "second"):
            with lock:
                order.append(word)
            ring.meet(host, nothing)
            with ring.turn(nothing):
                pass
        return ring.next_of(host).name

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(node, NODES)) == ["n2", "n3", "n1"]
    assert order == ["first"] * 3 + ["second"] * 3


def test_nobody_waits_for_a_node_that_is_gone() -> None:
    ring = Ring(NODES)
    ring.leave(NODES[2])
    with pytest.raises(StoppedError, match="node n3 of the same box stopped"):
        ring.meet(NODES[0], nothing)


def test_who_is_stopped_does_not_wait() -> None:
    def stop() -> None:
        raise StoppedError("it was interrupted")

    with pytest.raises(StoppedError, match="interrupted"):
        Ring(NODES).meet(NODES[0], stop)
