"""Projects a fleet onto the NUMA nodes that a service's memory has to lie on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from boxwright.model.catalogues import load_engine
from boxwright.model.fleet import Fleet
from boxwright.model.residency import MemoryPlacement
from boxwright.model.setting import Value
from boxwright.model.site import Host
from boxwright.model.stack import NumaPolicy, Service
from boxwright.model.stack_check import TABLES
from boxwright.planning.llama_cpp_instance import Instance
from boxwright.serving.ktransformers import pool_nodes

_BINDS_THREADS = "VLLM_CPU_OMP_THREADS_BIND"  # lists of processors, one for each of vLLM's processes; or a word
_MAP_WEIGHTS = ("llama_cpp", "ollama")  # both run llama-server
_A_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def placement_of(fleet: Fleet, service: Service, *, leads: bool = True) -> MemoryPlacement:
    """Where a service has its memory on a machine: as its unit is told, or as the engine promises by itself.

    Args:
        fleet: Whose service it is.
        service: The service.
        leads: Whether clients speak to that machine, or to another one of its box.
    """
    policy, by_ray = _policy_of_unit(service), service.executor == "ray" and not leads
    placement = MemoryPlacement(
        unit="ray.service" if by_ray else f"{service.unit}.service",
        container=service.unit if service.contained else None,
        policy=policy.policy,
        nodes=policy.nodes,
        maps_weights=service.engine in _MAP_WEIGHTS,
        simulated=fleet.site.twin is not None and fleet.profile.hardware.numa_nodes > 1,
    )
    return placement.model_copy(update=_by_itself(fleet, service))


def judged_at_start(fleet: Fleet, service: Service) -> MemoryPlacement | None:
    """The same for the service's start; None where neither the profile nor the engine asks for certain nodes."""
    placement = placement_of(fleet, service)
    return placement if placement.names_nodes else None


def placements(fleet: Fleet, host: Host) -> tuple[MemoryPlacement, ...]:
    """The same of all services of a machine."""
    stack, leads = fleet.profile.stack, fleet.leads(host)
    return tuple(placement_of(fleet, service, leads=leads) for service in (stack.services if leads else (stack,)))


def _policy_of_unit(service: Service) -> NumaPolicy:
    """What systemd is told for a service. kt-kernel places threads and memory by itself, and its unit has no policy."""
    return NumaPolicy() if service.engine == "ktransformers" else service.numa


def _by_itself(fleet: Fleet, service: Service) -> dict[str, object]:
    """What an engine does with its memory by itself: fields of `MemoryPlacement`; empty where it promises nothing.

    What the profile's own `numa` asks of a unit, systemd does: that is none of this.
    """
    hardware = fleet.profile.hardware
    if hardware.numa_nodes == 1 or fleet.foreign_cards or service.engine not in TABLES:
        return {}
    table = load_engine(TABLES[service.engine])
    own: dict[str, Value] = {table.canonical(name): value for name, value in service.engine_settings.items()}
    if service.engine == "ktransformers":
        return {"spread": pool_nodes(service, hardware, own)}
    if service.engine == "llama_cpp":
        return _of_llama_cpp(fleet, service)
    if service.engine == "vllm" and not fleet.profile.cards_of(service):
        return _of_vllm(own)
    return {}


def _of_llama_cpp(fleet: Fleet, service: Service) -> dict[str, object]:
    """With distribute, threads are dealt out over all nodes, and what they read lies by them; isolate takes one."""
    settings = Instance.of(fleet, service).settings()
    told = settings.get("--numa", settings.get("LLAMA_ARG_NUMA"))
    if told == "distribute":
        return {"spread": tuple(range(fleet.profile.hardware.numa_nodes))}
    return {"on_one": True} if told == "isolate" else {}


def _of_vllm(own: Mapping[str, Value]) -> dict[str, object]:
    """Each of its processes binds threads and memory to a list of processors, and to their nodes."""
    lists = tuple(str(own.get(_BINDS_THREADS, "")).split("|"))
    return {"processors": lists} if all(_A_LIST.fullmatch(one) for one in lists) else {}
