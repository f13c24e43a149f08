"""Projects a fleet onto what has to be seen of each service's model on the cards of a machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from boxwright.model.catalogue import GIB
from boxwright.model.catalogues import load_engine
from boxwright.model.fleet import Fleet
from boxwright.model.residency import CardResidency
from boxwright.model.setting import Value
from boxwright.model.site import Host
from boxwright.model.stack import Service
from boxwright.model.stack_check import TABLES
from boxwright.model.weights import Weights, parts_of
from boxwright.planning.sized_stack import machine_for, parallelism
from boxwright.serving.llama_cpp import layers_on_cards, placement
from boxwright.sizing.residency import OnCards, beside_experts, offloaded_to_cards, spread_over_cards


def residency_of(fleet: Fleet, service: Service, *, leads: bool = True) -> CardResidency | None:
    """What of a service's model has to be seen on a machine's cards; None where nothing of it belongs there.

    Ollama is asked itself, and is none of this.

    Args:
        fleet: Whose service it is.
        service: The service.
        leads: Whether clients speak to that machine, or to another one of its box.
    """
    cards = fleet.profile.cards_of(service)
    if not cards or service.engine == "ollama":
        return None
    table = load_engine(TABLES[service.engine])
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    weights = parts_of(service, fleet.catalogue)[0]
    bytes_there = _on_cards(fleet, service, weights, own)
    if bytes_there is None:
        return None
    by_ray = ("ray.service",) if service.executor == "ray" else ()
    own_unit = () if by_ray and not leads else (f"{service.unit}.service",)
    return CardResidency(
        units=own_unit + by_ray,
        container=service.unit if service.contained else None,
        cards=cards,
        tool="nvidia-smi" if _of_nvidia(fleet, cards) else None,
        expected_bytes=bytes_there.expected,
        least_bytes=bytes_there.least,
        least_each_bytes=bytes_there.least_each,
        layers=_layers(fleet, service, weights, own),
    )


def residencies(fleet: Fleet, host: Host) -> tuple[CardResidency, ...]:
    """The same of all services of a machine."""
    found = (residency_of(fleet, service, leads=fleet.leads(host)) for service in fleet.profile.stack.services)
    return tuple(one for one in found if one)


def _on_cards(fleet: Fleet, service: Service, weights: Weights, own: Mapping[str, Value]) -> OnCards | None:
    if service.engine == "llama_cpp":
        if layers_on_cards(own) == 0:
            return None
        memory = tuple(int(gib * GIB) for gib in fleet.profile.device_memory_gib(service))
        return offloaded_to_cards(placement(service, weights, memory, own))
    if service.engine == "ktransformers":
        return beside_experts(weights, len(fleet.profile.cards_of(service)))
    machine = machine_for(service, fleet.profile, fleet.accelerators)
    return spread_over_cards(service, weights, machine, own, parallelism(fleet, service))


def _layers(fleet: Fleet, service: Service, weights: Weights, own: Mapping[str, Value]) -> int | Literal["all"] | None:
    if service.engine != "llama_cpp":
        return None
    memory = tuple(int(gib * GIB) for gib in fleet.profile.device_memory_gib(service))
    placed = placement(service, weights, memory, own)
    if placed is None:
        return layers_on_cards(own)
    return "all" if placed.gpu_layers > weights.model.architecture.layers else placed.gpu_layers


def _of_nvidia(fleet: Fleet, cards: tuple[int, ...]) -> bool:
    groups = [group for group in fleet.profile.hardware.accelerators for _ in range(group.count)]
    known = [fleet.accelerators.find(groups[card].pci_id) for card in cards]
    return all(found and found[0].vendor == "nvidia" for found in known)
