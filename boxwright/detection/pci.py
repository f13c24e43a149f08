"""Accelerators and fabric switches on the PCI bus, by class and id. Names of cards decide nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from boxwright.detection.machine import UNKNOWN_NODE, AcceleratorFound, PcieLink
from boxwright.detection.sections import UnreadableError, fields, whole
from boxwright.model.accelerators import AcceleratorCatalogue

NO_RECIPE = "no recipe yet"

_SLOT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_HEX = re.compile(r"0x[0-9a-f]{1,6}")
_3D, _PROCESSING, _DISPLAY, _VGA = 0x0302, 0x1200, 0x0380, 0x0300
_GENERATION = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "8": 3, "16.0": 4, "16": 4, "32.0": 5, "32": 5, "64.0": 6, "64": 6}


@dataclass(frozen=True)
class Device:
    """A PCI device, as sysfs shows it."""

    slot: str
    kind: int  # class and subclass: 0x0302
    pci_id: str
    subsystem: str
    numa_node: int
    link: PcieLink
    driver: str


def devices(text: str) -> tuple[Device, ...]:
    """Every PCI device of the probe's list; a virtual machine or a container may have a bus without any.

    Raises:
        UnreadableError: Not one line is a PCI device.
    """
    found = tuple(_devices(text))
    if not found and text.strip():
        raise UnreadableError("no PCI device")
    return found


def _devices(text: str) -> Iterator[Device]:
    for row in fields(text, 12):
        slot, kind, *ids = row[:6]
        if not _SLOT.fullmatch(slot) or not all(_HEX.fullmatch(word) for word in (kind, *ids[:2])):
            continue
        vendor, device, subvendor, subdevice = (whole(word) or 0 for word in ids)
        node = whole(row[6])
        yield Device(
            slot=slot,
            kind=int(kind, 16) >> 8,
            pci_id=f"{vendor & 0xFFFF:04x}:{device & 0xFFFF:04x}",
            subsystem=f"{subvendor & 0xFFFF:04x}:{subdevice & 0xFFFF:04x}",
            numa_node=UNKNOWN_NODE if node is None else max(node, UNKNOWN_NODE),
            link=PcieLink(
                generation=_generation(row[7]),
                max_generation=_generation(row[8]),
                width=_width(row[9]),
                max_width=_width(row[10]),
            ),
            driver=row[11],
        )


def _generation(speed: str) -> int | None:
    """The PCIe generation of `16.0 GT/s PCIe`; older kernels write `16 GT/s`."""
    words = speed.split()
    return _GENERATION.get(words[0]) if words else None


def _width(text: str) -> int | None:
    lanes = whole(text)
    return lanes if lanes and 0 < lanes <= 32 else None  # 255 is what a device that is gone reads


def names(text: str) -> dict[str, str]:
    """What `lspci -Dnnvmm` calls each device, by slot."""
    found = {}
    for block in text.split("\n\n"):
        values = dict(re.findall(r"^(Slot|Device):\t(.*)$", block, re.MULTILINE))
        if _SLOT.fullmatch(values.get("Slot", "")) and values.get("Device"):
            found[values["Slot"]] = re.sub(r" \[[0-9a-f]{4}\]$", "", values["Device"])
    return found


def accelerators(
    found: tuple[Device, ...], catalogue: AcceleratorCatalogue, called: Mapping[str, str]
) -> tuple[AcceleratorFound, ...]:
    """The accelerators among the devices, those without a recipe too; `called` names what the catalogue does not."""
    return tuple(_named(device, catalogue, called) for device in found if _is_accelerator(device, catalogue))


def fabric_switches(found: tuple[Device, ...], catalogue: AcceleratorCatalogue) -> int:
    """How many switches of a GPU fabric there are. Any makes the machine an HGX."""
    return sum(catalogue.is_switch(device.pci_id) for device in found)


def _is_accelerator(device: Device, catalogue: AcceleratorCatalogue) -> bool:
    if catalogue.find(device.pci_id, device.subsystem):
        return True
    vendor = device.pci_id.split(":")[0]
    # A vendor alone says little: Huawei makes network cards, AMD and Hygon make host bridges and built-in graphics.
    known = catalogue.vendor(vendor) is not None
    if device.kind in {_3D, _PROCESSING}:
        return True
    return known and (device.kind == _DISPLAY or (device.kind == _VGA and vendor == "10de"))


def _named(device: Device, catalogue: AcceleratorCatalogue, called: Mapping[str, str]) -> AcceleratorFound:
    known = catalogue.find(device.pci_id, device.subsystem)
    vendor = catalogue.vendor(device.pci_id.split(":")[0]) or "unknown vendor"
    return AcceleratorFound(
        slot=device.slot,
        pci_id=device.pci_id,
        subsystem=device.subsystem,
        name=known[1].name if known else f"{vendor} {called.get(device.slot) or 'accelerator ' + device.pci_id}",
        vendor=vendor,
        accelerator=known[0].id if known else None,
        recipe=known[0].recipe if known else False,
        numa_node=device.numa_node,
        link=device.link,
        driver=device.driver,
    )
