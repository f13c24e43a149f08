"""A machine as rows for a table: what, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from boxwright.detection.closest import KIB_PER_GIB, Match
from boxwright.detection.findings import channels_populated
from boxwright.detection.machine import UNKNOWN_NODE, Machine, PcieLink, Unknown
from boxwright.detection.pci import NO_RECIPE

Row = tuple[str, str]
_GB = 10**9


def rows(machine: Machine) -> list[Row]:
    """What was found, from the case inwards."""
    return [
        *_system(machine),
        *_compute(machine),
        *_memory(machine),
        *_accelerators(machine),
        *_storage(machine),
        *_network(machine),
        *_software(machine),
    ]


def why(match: Match) -> str:
    """In what a machine differs from a profile, as a phrase."""
    if not match.differences:
        return "it has what the profile asks for"
    return "; ".join(
        f"{one.what}: {one.found}" + (f" instead of {one.wanted}" if one.wanted else "") for one in match.differences
    )


def _unknown(value: Unknown) -> str:
    return f"unknown ({value.reason})"


def _system(machine: Machine) -> Iterator[Row]:
    system, os = machine.system, machine.operating_system
    if isinstance(system, Unknown):
        yield "System", _unknown(system)
    else:
        names = " ".join(filter(None, (system.vendor, system.product))) or "not named by its firmware"
        yield "System", names + (f", serial {system.serial}" if system.serial else "")
        if system.board or system.bios:
            yield "Board", ", BIOS ".join(filter(None, (system.board, system.bios)))
    yield "Operating system", _unknown(os) if isinstance(os, Unknown) else os.title


def _compute(machine: Machine) -> Iterator[Row]:
    cpu, nodes = machine.processors, machine.numa_nodes
    if isinstance(cpu, Unknown):
        yield "Processors", _unknown(cpu)
    else:
        threads = f"{cpu.threads_per_core} threads a core" if cpu.threads_per_core > 1 else "1 thread a core"
        yield "Processors", f"{cpu.sockets}x {cpu.model}, {cpu.cores_per_socket} cores each, {threads}"
    if isinstance(nodes, Unknown):
        yield "NUMA nodes", _unknown(nodes)
        return
    cards = () if isinstance(machine.accelerators, Unknown) else machine.accelerators
    for node in nodes:
        here = Counter(card.name for card in cards if card.numa_node == node.id)
        with_cards = ", ".join(f"{count}x {name}" for name, count in sorted(here.items())) or "no accelerator"
        memory = "" if node.memory_kib is None else f", {node.memory_kib / KIB_PER_GIB:.0f} GiB"
        yield f"NUMA node {node.id}", f"CPUs {node.cpus}{memory}, {with_cards}"


def _memory(machine: Machine) -> Iterator[Row]:
    total = machine.memory_kib
    yield "Memory", _unknown(total) if isinstance(total, Unknown) else f"{total / KIB_PER_GIB:.0f} GiB usable"
    if isinstance(machine.dimms, Unknown):
        yield "Memory modules", _unknown(machine.dimms)
        return
    kinds = Counter(f"{dimm.gib:g} GiB {dimm.kind}" for dimm in machine.dimms if dimm.gib)
    modules = ", ".join(f"{count}x {kind}" for kind, count in sorted(kinds.items()))
    channels = channels_populated(machine.dimms)
    told = f"{channels[0]} of {channels[1]} channels" if channels else "the slots' names do not tell the channels"
    yield "Memory modules", f"{modules or 'none'} in {len(machine.dimms)} slots, {told}"


def _accelerators(machine: Machine) -> Iterator[Row]:
    if isinstance(machine.accelerators, Unknown):
        yield "Accelerators", _unknown(machine.accelerators)
        return
    if not machine.accelerators:
        yield "Accelerators", "none"
    for card in machine.accelerators:
        node = "no NUMA node" if card.numa_node == UNKNOWN_NODE else f"node {card.numa_node}"
        recipe = "" if card.recipe else f", {NO_RECIPE}"
        yield f"Accelerator {card.slot}", f"{card.name} ({card.pci_id}), {node}, {_link(card.link)}{recipe}"
    if isinstance(machine.fabric_switches, int) and machine.fabric_switches:
        yield "Fabric", f"{machine.fabric_switches} NVSwitch bridges"


def _link(link: PcieLink) -> str:
    if not link.generation or not link.width:
        return "link not known"
    return (
        f"PCIe {link.generation}.0 x{link.width} now, {link.max_generation or '?'}.0 x{link.max_width or '?'} at most"
    )


def _storage(machine: Machine) -> Iterator[Row]:
    if isinstance(machine.disks, Unknown):
        yield "Disks", _unknown(machine.disks)
    else:
        for disk in machine.disks:
            kind = " ".join(filter(None, (disk.transport, disk.model))) or "disk"
            use = "holds data" if disk.holds_data else "empty"
            yield f"Disk {disk.name}", f"{disk.bytes / _GB:.0f} GB {kind}, {use}"
    if isinstance(machine.file_systems, Unknown):
        yield "Free space", _unknown(machine.file_systems)
    else:
        free = [f"{one.mount} {one.free_bytes / 2**30:.0f} GiB" for one in machine.file_systems]
        yield "Free space", ", ".join(dict.fromkeys(free))


def _network(machine: Machine) -> Iterator[Row]:
    if isinstance(machine.nics, Unknown):
        yield "Network", _unknown(machine.nics)
    else:
        for nic in machine.nics:
            speed = f"{nic.mbit_s / 1000:g} Gbit/s" if nic.mbit_s else "speed not known"
            state = "up" if nic.up else "down"
            yield f"Network {nic.name}", ", ".join((state, speed, *nic.addresses))
    if isinstance(machine.listeners, Unknown):
        yield "Ports in use", _unknown(machine.listeners)
    else:
        ports = sorted({(one.port, one.protocol) for one in machine.listeners})
        yield "Ports in use", ", ".join(f"{port}/{protocol}" for port, protocol in ports) or "none"


def _software(machine: Machine) -> Iterator[Row]:
    kernel, nvidia, boot, clock = machine.kernel, machine.nvidia, machine.secure_boot, machine.clock
    yield "Kernel", _unknown(kernel) if isinstance(kernel, Unknown) else kernel.release
    if isinstance(nvidia, Unknown):
        yield "NVIDIA driver", _unknown(nvidia)
    else:
        yield "NVIDIA driver", f"{nvidia.version or '?'}, CUDA {nvidia.cuda or '?'}, {len(nvidia.gpus)} cards answer"
    yield "Secure Boot", _unknown(boot) if isinstance(boot, Unknown) else ("on" if boot else "off")
    programs = machine.programs
    yield "Programs", _unknown(programs) if isinstance(programs, Unknown) else ", ".join(programs) or "none of interest"
    if isinstance(clock, Unknown):
        yield "Clock", _unknown(clock)
    else:
        yield "Clock", f"{'kept by the network' if clock.synchronized else 'not synchronised'}, {clock.time_zone}"
