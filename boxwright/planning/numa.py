"""Over which NUMA nodes an engine itself spreads what it holds in main memory. Pure."""

from __future__ import annotations

from boxwright.model.fleet import Fleet
from boxwright.model.stack import Service
from boxwright.planning.ktransformers_variables import pool_nodes
from boxwright.planning.llama_cpp_variables import deals_out_over_nodes


def spread_over(fleet: Fleet, service: Service) -> tuple[int, ...]:
    """The nodes that a service's memory lies on in equal parts; empty where the engine promises nothing of them.

    What the profile's own `numa` asks of a unit, systemd does: that is none of this.
    """
    count = fleet.profile.hardware.numa_nodes
    if count == 1 or fleet.foreign_cards:
        return ()
    if service.engine == "ktransformers":
        return pool_nodes(fleet, service)
    if service.engine == "llama_cpp" and deals_out_over_nodes(fleet, service):
        return tuple(range(count))
    return ()
