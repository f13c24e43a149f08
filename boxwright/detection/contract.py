"""Holds a machine against its contract. Pure: a machine and a contract in, one result a check out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from boxwright.detection.closest import KIB_PER_GIB
from boxwright.detection.findings import channels_populated
from boxwright.detection.machine import AcceleratorFound, Machine, Unknown
from boxwright.model.contract import ContractCheck, ProfileWaiver
from boxwright.model.hardware import Accelerator, Hardware

# "refused": the stack would fail. "warning": it would serve, but not as promised. "unproven": nothing here tells.
Verdict = Literal["ok", "refused", "warning", "waived", "unproven"]

# Firmware and kernel keep some memory to themselves; a machine with every module in has this share of it at least.
_USABLE_MEMORY = 0.9
# A file system is smaller than its disk, and a disk's label counts in thousands.
_USABLE_DISK = 0.9


@dataclass(frozen=True)
class Result:
    """How one check of the contract ended on one host."""

    check: ContractCheck
    verdict: Verdict
    found: str
    wanted: str
    remedy: str = ""
    waiver: str = ""  # who set it aside, and why

    def sentence(self) -> str:
        """What was found against what was wanted, in a line."""
        return f"{self.check}: found {self.found}, wanted {self.wanted}"


# A twin has the controller's firmware and disk, and one virtual network port.
_NOT_SHOWN_BY_A_TWIN = {"machine.serial", "disk.size", "nics.count"}


def judge(
    machine: Machine, wanted: Hardware, waivers: Sequence[ProfileWaiver] = (), *, serial: str = ""
) -> tuple[Result, ...]:
    """Every check that this contract has, in the order of the machine's parts.

    Args:
        machine: What was found. What a twin cannot show is unproven, never a failure.
        wanted: The contract.
        waivers: Those of site and profile; one that covers this host and a failed check turns its verdict.
        serial: The number that the site says this machine has; empty where it says none.
    """
    results = []
    for result in _results(machine, wanted, serial):
        if machine.twin and result.check in _NOT_SHOWN_BY_A_TWIN and result.verdict != "ok":
            result = replace(result, verdict="unproven", remedy="")  # noqa: PLW2901
        waiver = next((one for one in waivers if one.covers(result.check, machine.host)), None)
        of_real = () if machine.twin else ("unproven",)  # which fails in the end, so that it can be set aside, too
        if waiver and result.verdict in ("refused", "warning", *of_real):
            result = replace(result, verdict="waived", waiver=f"{waiver.by}: {waiver.reason}")  # noqa: PLW2901
        results.append(result)
    return tuple(results)


def _results(machine: Machine, wanted: Hardware, serial: str) -> Iterator[Result]:
    if serial:
        yield _serial(machine, serial)
    if wanted.accelerators:
        yield from _cards(machine, wanted)
    yield from _processors(machine, wanted)
    yield from _memory(machine, wanted)
    yield _disk(machine, wanted)
    if wanted.nics:
        yield _nics(machine, wanted)


def _serial(machine: Machine, wanted: str) -> Result:
    """Two boxes that changed places on the bench would get each other's name, secrets and label."""
    system = machine.system
    if isinstance(system, Unknown) or not system.serial:
        reason = f": {system.reason}" if isinstance(system, Unknown) else ""
        return Result("machine.serial", "unproven", f"no number in its firmware{reason}", wanted)
    return _verdict(
        "machine.serial",
        system.serial.strip().casefold() == wanted.casefold(),
        "refused",
        system.serial,
        wanted,
        "Another machine answers at this address: look at cables and addresses, or correct the serial in the site.",
    )


def _cards(machine: Machine, wanted: Hardware) -> Iterator[Result]:
    asked = ", ".join(f"{group.count} x {group.name}" for group in wanted.accelerators)
    cards = machine.accelerators
    if isinstance(cards, Unknown):
        yield Result("accelerators.count", "refused", f"nothing: {cards.reason}", asked, "Look at lspci on the host.")
        return
    known = {pci_id for group in wanted.accelerators for pci_id in group.pci_ids}
    strangers = [card for card in cards if card.pci_id not in known]
    yield _verdict(
        "accelerators.kind",
        not strangers,
        "refused",
        _named(strangers) if strangers else "no other card",
        f"{asked} and no other card",
        "Take the other cards out, or choose the profile of this machine: ./invoke detect names the closest.",
    )
    for group in wanted.accelerators:
        yield from _group(group, [card for card in cards if card.pci_id in group.pci_ids])
    yield from _spread(wanted, [card for card in cards if card.pci_id in known])
    if wanted.fabric_switches and not isinstance(machine.fabric_switches, Unknown):
        yield _verdict(
            "fabric.switches",
            machine.fabric_switches >= wanted.fabric_switches,
            "refused",
            f"{machine.fabric_switches} NVSwitch bridges",
            f"{wanted.fabric_switches}",
            "The cards cannot reach each other without them: look at the baseboard's power and the firmware's log.",
        )


def _group(group: Accelerator, cards: Sequence[AcceleratorFound]) -> Iterator[Result]:
    yield _verdict(
        "accelerators.count",
        len(cards) == group.count,
        "refused",
        f"{len(cards)} x {group.name}",
        f"{group.count} x {group.name}",
        "Reseat the missing card, look at its power cables, and at the kernel log for Xid 79."
        if len(cards) < group.count
        else "Choose the profile of this machine: ./invoke detect names the closest.",
    )
    if group.pcie_width:
        narrow = [card for card in cards if card.link.width is not None and card.link.width < group.pcie_width]
        yield _verdict(
            "pcie.width",
            not narrow,
            "refused",
            ", ".join(f"{card.slot} at x{card.link.width}" for card in narrow) or "as wanted",
            f"x{group.pcie_width} for every {group.name}",
            "Reseat the card or its riser; look up which slots share lanes.",
            silent=[card.slot for card in cards if card.link.width is None],
        )
    if group.pcie_generation:
        # An idle card lowers its generation; what the link can do at most it says at any time.
        slow = [
            card
            for card in cards
            if card.link.max_generation is not None and card.link.max_generation < group.pcie_generation
        ]
        yield _verdict(
            "pcie.generation",
            not slow,
            "warning",
            ", ".join(f"{card.slot} at most {card.link.max_generation}" for card in slow) or "as wanted",
            f"generation {group.pcie_generation} for every {group.name}",
            "Set the slot's generation in the firmware by hand instead of Auto; a long riser may not carry it.",
            silent=[card.slot for card in cards if card.link.max_generation is None],
        )


def _named(cards: Sequence[AcceleratorFound]) -> str:
    counts = Counter((card.name, card.pci_id) for card in cards)
    return ", ".join(f"{count} x {name} ({pci_id})" for (name, pci_id), count in sorted(counts.items()))


def _spread(wanted: Hardware, cards: Sequence[AcceleratorFound]) -> Iterator[Result]:
    """Cards are dealt out evenly over the NUMA nodes; how many a node has, not which, is what binding needs."""
    if wanted.numa_nodes < 2 or len(cards) < wanted.numa_nodes:
        return
    found = Counter(card.numa_node for card in cards)
    even = len(cards) // wanted.numa_nodes
    yield _verdict(
        "accelerators.numa_nodes",
        len(found) == wanted.numa_nodes and min(found) >= 0 and max(found.values()) - min(found.values()) <= 1,
        "warning",
        ", ".join(f"{count} on node {node}" if node >= 0 else f"{count} on no node" for node, count in found.items()),
        f"{even} on each of {wanted.numa_nodes} nodes",
        "Move cards to the other processor's slots, or update the firmware that names no node.",
    )


def _processors(machine: Machine, wanted: Hardware) -> Iterator[Result]:
    cpu, asked = machine.processors, wanted.cpu
    if isinstance(cpu, Unknown):
        yield Result("cpu.cores", "warning", f"nothing: {cpu.reason}", f"{asked.cores}")
        return
    cores = cpu.sockets * cpu.cores_per_socket
    yield _verdict("cpu.sockets", cpu.sockets == asked.sockets, "warning", f"{cpu.sockets}", f"{asked.sockets}")
    yield _verdict("cpu.cores", cores >= asked.cores, "warning", f"{cores}", f"{asked.cores} or more")
    if asked.model:
        yield _verdict("cpu.model", asked.model in cpu.model, "warning", cpu.model, asked.model)
    if asked.isa:
        missing = [flag for flag in asked.isa if flag not in cpu.flags]
        found = f"no {', '.join(missing)}" if missing else "all"
        remedy = "Let the firmware show them, or take weights for processors without them."
        yield _verdict("cpu.isa", not missing, "refused", found, ", ".join(asked.isa), remedy)
    if isinstance(machine.numa_nodes, Unknown):
        yield Result("numa.nodes", "warning", f"nothing: {machine.numa_nodes.reason}", f"{wanted.numa_nodes}")
    else:
        nodes = len(machine.numa_nodes)
        yield _verdict(
            "numa.nodes",
            nodes == wanted.numa_nodes,
            "warning",
            f"{nodes}",
            f"{wanted.numa_nodes}",
            "Set sub-NUMA clustering (Intel SNC) or nodes per socket (AMD NPS) in the firmware.",
        )


def _memory(machine: Machine, wanted: Hardware) -> Iterator[Result]:
    kib, asked = machine.memory_kib, f"{wanted.memory_gib:g} GiB"
    if isinstance(kib, Unknown):
        yield Result("memory.size", "warning", f"nothing: {kib.reason}", asked)
    else:
        yield _verdict(
            "memory.size",
            kib >= wanted.memory_gib * _USABLE_MEMORY * KIB_PER_GIB,
            "refused",
            f"{kib / KIB_PER_GIB:.0f} GiB",
            asked,
            "A module may have failed its training: look at the firmware's log, and at dmidecode -t memory.",
        )
    if wanted.dimms is None:
        return
    populated = wanted.dimms.channels_populated(wanted.cpu.sockets)
    asked = f"a module in {populated} of {wanted.cpu.sockets * wanted.dimms.channels_per_socket} channels"
    if isinstance(machine.dimms, Unknown):
        yield Result("memory.channels", "warning", f"nothing: {machine.dimms.reason}", asked)
        return
    channels = channels_populated(machine.dimms)
    if channels is None:
        yield Result("memory.channels", "unproven", "slots whose names do not tell their channel", asked)
        return
    yield _verdict(
        "memory.channels",
        channels[0] >= populated,
        "warning",
        f"{channels[0]} of {channels[1]}",
        asked,
        "Spread the modules over all channels as the board's manual says.",
    )


def _disk(machine: Machine, wanted: Hardware) -> Result:
    """The largest file system or blank disk: where models live is decided later, that there is room is decided now."""
    sizes = []
    if not isinstance(machine.file_systems, Unknown):
        sizes += [system.bytes for system in machine.file_systems]
    if not isinstance(machine.disks, Unknown):
        sizes += [disk.bytes for disk in machine.disks if not disk.holds_data]
    largest = max(sizes, default=0) / 2**30
    return _verdict(
        "disk.size",
        largest >= wanted.disk_gib * _USABLE_DISK,
        "refused",
        f"{largest:.0f} GiB in the largest file system or blank disk",
        f"{wanted.disk_gib:g} GiB",
        "Models do not fit: put in a larger disk, or point stack.models_directory at a larger file system.",
    )


def _nics(machine: Machine, wanted: Hardware) -> Result:
    count = sum(nic.count for nic in wanted.nics)
    asked = ", ".join(f"{nic.count} x {nic.gbit_s} Gbit/s {nic.kind}" for nic in wanted.nics)
    if isinstance(machine.nics, Unknown):
        return Result("nics.count", "warning", f"nothing: {machine.nics.reason}", asked)
    found = len(machine.nics)
    return _verdict("nics.count", found >= count, "warning", f"{found} ports", asked)


def _verdict(  # noqa: PLR0917  they are the columns of a table
    check: ContractCheck,
    holds: bool,
    otherwise: Verdict,
    found: str,
    wanted: str,
    remedy: str = "",
    *,
    silent: Sequence[str] = (),
) -> Result:
    """One result. `silent` names the cards that give no figure: what holds for the others is then unproven."""
    if holds and silent:
        return Result(check, "unproven", f"no figure for {', '.join(silent)}", wanted)
    return Result(check, "ok" if holds else otherwise, found, wanted, "" if holds else remedy)
