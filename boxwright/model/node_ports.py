"""Ports that vLLM's processes on several machines find each other by. Pure.

Services that stand over the same machines would find each other's, so each has ports of its own.
"""

from __future__ import annotations

from boxwright.model.base import Frozen, Port

_FIRST = 29500  # torch's own choice for a master
_APART = 100  # between services; vLLM may take ports right above the ones that it is told
_LIFELINE, _DATA = 40, 50
MOST_SERVICES = 10  # of vLLM over several machines: above lie the ports that the kernel hands out by itself


class NodePorts(Frozen):
    """The ports of one service, on every node of its box."""

    master: Port  # of the head, where the processes of all nodes find each other
    lifeline: Port  # of the head, where the other nodes tell that they are there
    data: Port  # of the head, where the copies of a model are told their requests


def node_ports(number: int) -> NodePorts:
    """The ports of a service, by its number among those of vLLM in its profile."""
    first = _FIRST + _APART * number
    return NodePorts(master=first, lifeline=first + _LIFELINE, data=first + _DATA)


def taken_between_nodes(services: int) -> range:
    """All ports that some services of vLLM may take between machines."""
    return range(_FIRST, _FIRST + _APART * services)
