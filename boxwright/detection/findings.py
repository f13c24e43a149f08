"""What a person should know about a machine before anything is installed, whatever its profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from boxwright.detection.machine import UNKNOWN_NODE, Dimm, Machine, Unknown
from boxwright.detection.pci import NO_RECIPE
from boxwright.model.accelerators import AcceleratorCatalogue

Severity = Literal["error", "warning", "note"]
_CLOCK_OFF_S = 60.0
_MISSING = ": not installed"
_PACKAGE = {"dmidecode": "dmidecode", "lscpu": "util-linux", "lsblk": "util-linux", "ip": "iproute2", "ss": "iproute2"}


@dataclass(frozen=True)
class Finding:
    """One thing to know, and what to do about it."""

    severity: Severity
    about: str
    text: str
    remedy: str = ""


def findings(machine: Machine, catalogue: AcceleratorCatalogue) -> list[Finding]:
    """Everything worth saying, the worst first."""
    order: list[Severity] = ["error", "warning", "note"]
    found = [
        *_accelerators(machine),
        *_links(machine, catalogue),
        *_driver(machine, catalogue),
        *_memory(machine),
        *_system(machine),
        *_unknown(machine),
    ]
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _accelerators(machine: Machine) -> Iterator[Finding]:
    if isinstance(machine.accelerators, Unknown):
        return
    kinds = Counter(card.name for card in machine.accelerators)
    for card in {card.name: card for card in machine.accelerators if not card.recipe}.values():
        yield Finding("warning", "accelerators", f"{kinds[card.name]}x {card.name} ({card.pci_id}): {NO_RECIPE}")
    if len(kinds) > 1:
        mixed = ", ".join(f"{count}x {name}" for name, count in sorted(kinds.items()))
        yield Finding("warning", "accelerators", f"mixed: {mixed}", "A model is split over equal cards only.")
    if isinstance(machine.numa_nodes, Unknown) or len(machine.numa_nodes) < 2:
        return
    lost = [card.slot for card in machine.accelerators if card.numa_node == UNKNOWN_NODE]
    if lost:
        what = f"the firmware names no NUMA node for {', '.join(lost)}"
        yield Finding(
            "warning", "accelerators", what, "Update the BIOS; until then nothing can be bound to the right node."
        )


def _links(machine: Machine, catalogue: AcceleratorCatalogue) -> Iterator[Finding]:
    """A width below the card's own is wrong at any time; a low generation may only mean that the card is idle."""
    if isinstance(machine.accelerators, Unknown):
        return
    for card in machine.accelerators:
        known = catalogue.find(card.pci_id, card.subsystem)
        wanted = known[1].pcie.width if known and known[1].pcie else card.link.max_width
        if card.link.width and wanted and card.link.width < wanted:
            text = f"{card.slot} {card.name} has a link of x{card.link.width} instead of x{wanted}"
            yield Finding("warning", "PCIe", text, "Reseat the card or its riser; look up which slots share lanes.")


def _driver(machine: Machine, catalogue: AcceleratorCatalogue) -> Iterator[Finding]:
    if not isinstance(machine.modules, Unknown) and "nouveau" in machine.modules.loaded:
        yield Finding("warning", "driver", "nouveau is loaded", "The vendor's driver needs it gone, and a reboot.")
    if isinstance(machine.nvidia, Unknown) or isinstance(machine.accelerators, Unknown):
        return
    cards = {card.slot: card for card in machine.accelerators if card.pci_id.startswith("10de:")}
    for gpu in machine.nvidia.gpus:
        if gpu.errors:
            text = f"{gpu.slot}: the card does not answer for {', '.join(gpu.errors[:3])}"
            yield Finding("error", "driver", text, "Cold-boot the machine; if it comes back, the card is for exchange.")
    silent = sorted(set(cards) - {gpu.slot for gpu in machine.nvidia.gpus})
    if silent:
        text = f"on the bus, but not in nvidia-smi: {', '.join(silent)}"
        yield Finding("error", "driver", text, "Look for Xid 79 in the kernel log: power, heat or a riser.")
    branch = (machine.nvidia.version or "").split(".")[0]
    flavour = None if isinstance(machine.modules, Unknown) else machine.modules.nvidia_flavour
    for name in sorted({card.accelerator for card in cards.values() if card.accelerator}):
        known = catalogue.get(name)
        if known is None or known.driver is None or not flavour or not branch.isdigit():
            continue
        if not known.driver.allows(int(branch), flavour):
            span = f"{' or '.join(known.driver.flavours)}, {known.driver.branch_min} to {known.driver.branch_max}"
            yield Finding("warning", "driver", f"{branch} {flavour} does not go with {known.name}", f"It takes {span}.")


def _memory(machine: Machine) -> Iterator[Finding]:
    if isinstance(machine.dimms, Unknown):
        return
    full = [dimm for dimm in machine.dimms if dimm.gib]
    channels = channels_populated(machine.dimms)
    if channels and channels[0] < channels[1]:
        text = f"{channels[0]} of {channels[1]} memory channels hold a module"
        yield Finding("warning", "memory", text, "Models on the CPU are as fast as the memory: fill every channel.")
    sizes = {dimm.gib for dimm in full}
    if len(sizes) > 1:
        yield Finding(
            "warning",
            "memory",
            f"modules of {', '.join(f'{size:g} GiB' for size in sorted(map(float, filter(None, sizes))))}",
        )


def channels_populated(dimms: tuple[Dimm, ...]) -> tuple[int, int] | None:
    """How many memory channels hold a module, of how many; None when the slots' names do not tell."""
    if any(dimm.channel is None for dimm in dimms):
        return None
    return len({dimm.channel for dimm in dimms if dimm.gib}), len({dimm.channel for dimm in dimms})


def _system(machine: Machine) -> Iterator[Finding]:
    if machine.secure_boot is True:
        text = "Secure Boot is on: a module that is built here must be signed and its key enrolled"
        yield Finding("warning", "firmware", text, "Enrolment needs somebody at the console. Or switch it off.")
    if not isinstance(machine.package_problems, Unknown) and machine.package_problems:
        yield Finding(
            "error", "packages", "dpkg reports broken packages", "dpkg --configure -a, then apt-get -f install"
        )
    if not isinstance(machine.kernel, Unknown):
        missing = [name for name in machine.kernel.installed if name not in machine.kernel.with_headers]
        if missing:
            yield Finding("note", "kernel", f"no headers for {', '.join(missing)}")
    if isinstance(machine.clock, Unknown):
        return
    if machine.clock.offset_s is not None and abs(machine.clock.offset_s) > _CLOCK_OFF_S:
        text = f"the clock is {machine.clock.offset_s:+.0f} s off this machine's"
        yield Finding("error", "clock", text, "Certificates and package lists are refused: set the time.")
    elif not machine.clock.synchronized:
        yield Finding("note", "clock", "the clock is not kept by the network")


def _unknown(machine: Machine) -> Iterator[Finding]:
    """What was not found out. That nvidia-smi is missing matters only where there is a card for it."""
    cards = machine.accelerators
    without_nvidia = not isinstance(cards, Unknown) and not any(card.pci_id.startswith("10de:") for card in cards)
    for name in type(machine).model_fields:
        value = getattr(machine, name)
        if isinstance(value, Unknown) and not (name == "nvidia" and without_nvidia):
            tool = value.reason.partition(":")[0]
            remedy = f"apt-get install {_PACKAGE[tool]}" if value.reason.endswith(_MISSING) and tool in _PACKAGE else ""
            yield Finding("note", name.replace("_", " "), f"not found out: {value.reason}", remedy)
