"""The operating system, kernels, modules, packages and the clock."""

from __future__ import annotations

import re

from boxwright.detection.machine import Clock, Kernel, Modules, OperatingSystem, Package
from boxwright.detection.sections import UnreadableError, fields, whole
from boxwright.model.accelerators import Flavour

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+:-]*")


def operating_system(text: str) -> OperatingSystem:
    """What os-release says; without an id it says nothing."""
    values = {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)}
    if not values.get("ID"):
        raise UnreadableError("no ID")
    return OperatingSystem(
        id=values["ID"], version=values.get("VERSION_ID", ""), title=values.get("PRETTY_NAME", values["ID"])
    )


def kernel(text: str) -> Kernel:
    """The running kernel and those whose modules are installed."""
    rows = fields(text, 2)
    release = next((row[1] for row in rows if row[0] == "release" and row[1]), None)
    if release is None:
        raise UnreadableError("no release")
    installed = [row for row in rows if row[0] == "installed" and len(row) > 2]
    return Kernel(
        release=release,
        installed=tuple(row[1] for row in installed),
        with_headers=tuple(row[1] for row in installed if row[2] == "yes"),
    )


def modules(text: str) -> Modules:
    """The loaded modules that matter, and the flavour of the NVIDIA module on disk by its licence."""
    rows = fields(text, 2)
    loaded = {row[1]: row[2] if len(row) > 2 else "" for row in rows if row[0] == "loaded"}
    licence = next((row[1] for row in rows if row[0] == "nvidia_license"), "")
    flavours: dict[str, Flavour] = {"Dual MIT/GPL": "open", "NVIDIA": "closed"}
    return Modules(loaded=loaded, nvidia_flavour=flavours.get(licence))


def secure_boot(text: str) -> bool:
    """Whether Secure Boot is on: the last byte of the firmware's variable. A machine that booted by BIOS has none."""
    if text.strip() == "bios":
        return False
    numbers = re.findall(r"(?<![0-9])[0-9]{1,3}(?![0-9])", text)
    if len(numbers) != 5 or numbers[-1] not in {"0", "1"}:
        raise UnreadableError("not the variable SecureBoot")
    return bool(numbers[-1] == "1")


def packages(text: str) -> tuple[Package, ...]:
    """The installed packages among those asked for."""
    return tuple(
        Package(name=row[0], version=row[1], held=row[2].startswith("h"))
        for row in fields(text, 3)
        if _PACKAGE.fullmatch(row[0]) and row[1] and row[2][1:2] == "i"
    )


def programs(text: str) -> dict[str, str]:
    """Where programs of interest lie, by name."""
    return {row[0]: row[1] for row in fields(text, 2) if row[1].startswith("/")}


def clock(text: str, time: str, now: float) -> Clock:
    """Whether the clock is kept, and how far it is from the controller's."""
    values = dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))
    if "NTPSynchronized" not in values:
        raise UnreadableError("no NTPSynchronized")
    there = whole(time)
    offset = round(there - now, 1) if there is not None else None
    return Clock(synchronized=values["NTPSynchronized"] == "yes", time_zone=values.get("Timezone", ""), offset_s=offset)
