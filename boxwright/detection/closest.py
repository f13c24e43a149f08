"""Which profile a machine comes closest to, and in what the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from boxwright.detection.machine import Machine, Unknown
from boxwright.model.hardware import Hardware
from boxwright.model.profile import Profile

KIB_PER_GIB = 1024 * 1024
# Firmware and kernel keep some memory to themselves; a machine with every module in has this share of it at least.
_USABLE = 0.9


@dataclass(frozen=True)
class Difference:
    """One way in which a machine is not what a profile asks for. `weight` orders profiles, nothing else."""

    what: str
    found: str
    wanted: str
    weight: int


@dataclass(frozen=True)
class Match:
    """A profile, and how the machine differs from it."""

    profile: str
    summary: str
    differences: tuple[Difference, ...]

    @property
    def distance(self) -> int:
        """The weight of all differences."""
        return sum(difference.weight for difference in self.differences)


def closest(machine: Machine, profiles: Iterable[Profile]) -> list[Match]:
    """The profiles, the closest first."""
    matches = [Match(one.name, one.summary, tuple(_differences(machine, one.hardware))) for one in profiles]
    return sorted(matches, key=lambda match: (match.distance, match.profile))


def _differences(machine: Machine, wanted: Hardware) -> Iterator[Difference]:
    yield from _accelerators(machine, wanted)
    yield from _processors(machine, wanted)
    if isinstance(machine.memory_kib, Unknown):
        yield Difference("memory", "unknown", f"{wanted.memory_gib:g} GiB", 2)
    elif machine.memory_kib < wanted.memory_gib * _USABLE * KIB_PER_GIB:
        yield Difference("memory", f"{machine.memory_kib / KIB_PER_GIB:.0f} GiB", f"{wanted.memory_gib:g} GiB", 5)
    if isinstance(machine.file_systems, Unknown):
        yield Difference("free disk", "unknown", f"{wanted.disk_gib:g} GiB", 1)
    else:
        free = max(system.free_bytes for system in machine.file_systems) / 2**30
        if free < wanted.disk_gib:
            yield Difference("free disk", f"{free:.0f} GiB", f"{wanted.disk_gib:g} GiB", 3)


def _accelerators(machine: Machine, wanted: Hardware) -> Iterator[Difference]:
    if isinstance(machine.accelerators, Unknown):
        yield Difference("accelerators", "unknown", "", 50)
        return
    serves = {other: card.pci_id for card in wanted.accelerators for other in card.alternatives}
    found = Counter(serves.get(card.pci_id, card.pci_id) for card in machine.accelerators)
    asked = Counter(card.pci_id for card in wanted.accelerators for _ in range(card.count))
    names = {card.pci_id: card.name for card in machine.accelerators} | {c.pci_id: c.name for c in wanted.accelerators}
    for pci_id in sorted(found | asked):
        if found[pci_id] != asked[pci_id]:
            # Another kind of card is further away than another number of the same.
            weight = (10 if found[pci_id] and asked[pci_id] else 100) + abs(found[pci_id] - asked[pci_id])
            yield Difference(names[pci_id], str(found[pci_id]), str(asked[pci_id]), weight)


def _processors(machine: Machine, wanted: Hardware) -> Iterator[Difference]:
    if isinstance(machine.processors, Unknown):
        yield Difference("processors", "unknown", f"{wanted.cpu.cores} cores", 2)
        return
    cpu = machine.processors
    if cpu.sockets != wanted.cpu.sockets:
        yield Difference("sockets", str(cpu.sockets), str(wanted.cpu.sockets), 3)
    if cpu.sockets * cpu.cores_per_socket < wanted.cpu.cores:
        yield Difference("cores", str(cpu.sockets * cpu.cores_per_socket), str(wanted.cpu.cores), 3)
    if wanted.cpu.model and wanted.cpu.model not in cpu.model:
        yield Difference("processor", cpu.model, wanted.cpu.model, 1)
    if not isinstance(machine.numa_nodes, Unknown) and len(machine.numa_nodes) != wanted.numa_nodes:
        yield Difference("NUMA nodes", str(len(machine.numa_nodes)), str(wanted.numa_nodes), 2)
