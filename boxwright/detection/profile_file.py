"""A ready profile file for a machine that no profile fits."""

from __future__ import annotations

import io
import re
from collections import Counter
from typing import Any

from ruamel.yaml import YAML

from boxwright.detection.closest import KIB_PER_GIB
from boxwright.detection.machine import AcceleratorFound, Machine, Unknown
from boxwright.errors import BoxwrightError
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.hardware import Hardware
from boxwright.model.profile import Profile

_STACK = {"model": "smollm2-135m-instruct", "engine": "llama_cpp"}


def profile_name(machine: Machine) -> str:
    """`box-8xgeforce-rtx-4090` for what has accelerators, `box-2x32-cores` for what has none."""
    if not isinstance(machine.accelerators, Unknown) and machine.accelerators:
        kinds = Counter(card.accelerator or card.pci_id for card in machine.accelerators)
        words = "-".join(f"{count}x{name}" for name, count in sorted(kinds.items()))
    elif not isinstance(machine.processors, Unknown):
        words = f"{machine.processors.sockets}x{machine.processors.cores_per_socket}-cores"
    else:
        words = machine.host
    return "box-" + re.sub(r"[^a-z0-9._-]+", "-", words.lower()).strip("-")[:58]


def profile_file(machine: Machine, catalogue: AcceleratorCatalogue) -> str:
    """The text of a profile file that holds for this machine.

    Raises:
        BoxwrightError: What a profile must state could not be found out.
    """
    hardware, left_out = _hardware(machine, catalogue)
    name = profile_name(machine)
    summary = f"made by detect from {machine.host}"
    document: dict[str, Any] = {"name": name, "summary": summary, "hardware": hardware, "stack": _STACK}
    Profile.model_validate(document)
    yaml, text = YAML(), io.StringIO()
    yaml.width = 118
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, text)
    head = [
        f"# Save as inventories/profiles/{name}.yml, then choose model and engine under stack.",
        "# `./invoke docs profile` explains every key.",
        *(f"# Left out: {reason}" for reason in left_out),
    ]
    return "\n".join(head) + "\n" + text.getvalue()


def hardware_of(machine: Machine, catalogue: AcceleratorCatalogue) -> Hardware:
    """The machine as a profile would describe it.

    Raises:
        BoxwrightError: What a profile must state could not be found out.
    """
    return Hardware.model_validate(_hardware(machine, catalogue)[0])


def _hardware(machine: Machine, catalogue: AcceleratorCatalogue) -> tuple[dict[str, Any], list[str]]:
    cpu, memory, systems = machine.processors, machine.memory_kib, machine.file_systems
    for what, value in (("processors", cpu), ("memory", memory), ("file systems", systems)):
        if isinstance(value, Unknown):
            raise BoxwrightError(f"no profile without the {what}: {value.reason}", where=machine.host)
    assert not isinstance(cpu, Unknown)  # noqa: S101  refused above
    assert not isinstance(memory, Unknown)  # noqa: S101  refused above
    assert not isinstance(systems, Unknown)  # noqa: S101  refused above
    hardware: dict[str, Any] = {
        "cpu": {
            "sockets": cpu.sockets,
            "cores_per_socket": cpu.cores_per_socket,
            "threads_per_core": cpu.threads_per_core,
            "model": cpu.model,
        },
        "numa_nodes": 1 if isinstance(machine.numa_nodes, Unknown) else len(machine.numa_nodes),
        "memory_gib": _memory_gib(machine, memory),
        "disk_gib": max(1, max(system.free_bytes for system in systems) // 2**30),
    }
    groups, left_out = _accelerators(machine, catalogue)
    if groups:
        hardware["accelerators"] = groups
    return hardware, left_out


def _memory_gib(machine: Machine, kib: int) -> int:
    """What the modules add up to; without dmidecode what the kernel can use."""
    installed = 0.0 if isinstance(machine.dimms, Unknown) else sum(dimm.gib or 0 for dimm in machine.dimms)
    return max(1, int(installed or kib / KIB_PER_GIB))


def _accelerators(machine: Machine, catalogue: AcceleratorCatalogue) -> tuple[list[dict[str, Any]], list[str]]:
    if isinstance(machine.accelerators, Unknown):
        return [], [f"accelerators: {machine.accelerators.reason}"]
    groups, left_out = [], []
    counts = Counter(card.pci_id for card in machine.accelerators)
    for card in {card.pci_id: card for card in machine.accelerators}.values():
        memory = _card_memory_gib(machine, card, catalogue)
        if memory is None:
            left_out.append(f"{counts[card.pci_id]}x {card.name} ({card.pci_id}): its memory is not known")
            continue
        group = {"name": card.name, "pci_id": card.pci_id, "count": counts[card.pci_id], "memory_gib": memory}
        groups.append(group)
    return groups, left_out


def _card_memory_gib(machine: Machine, card: AcceleratorFound, catalogue: AcceleratorCatalogue) -> float | None:
    """What the driver measures, else what the maker states."""
    gpus = () if isinstance(machine.nvidia, Unknown) else machine.nvidia.gpus
    measured = next((gpu.memory_mib for gpu in gpus if gpu.slot == card.slot and gpu.memory_mib), None)
    if measured:
        return round(measured / 1024, 1)
    known = catalogue.find(card.pci_id, card.subsystem)
    return float(known[1].memory.gb) if known and known[1].memory else None
