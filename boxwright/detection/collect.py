"""Runs the probe on a host, in one round trip, and puts a `Machine` together from its answer."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from boxwright.detection import disks, hardware, network, nvidia, pci, software
from boxwright.detection.machine import Clock, Machine, Unknown
from boxwright.detection.sections import Section, parse, read_sections
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.transport.ssh import Endpoint, run

PROBE = Path(__file__).with_name("probe.sh")
LONGEST_S = 180  # all the probe's own limits together, and the way there

Input = TypeVar("Input")
Output = TypeVar("Output")


def detect(endpoint: Endpoint, catalogue: AcceleratorCatalogue) -> Machine:
    """Find out what a host is.

    Raises:
        UnreachableError: ssh could not get in.
        BoxwrightError: What came back is not the probe's answer.
    """
    mark = f"@{secrets.token_hex(16)}"
    script = f"sh -c {shlex.quote(PROBE.read_text(encoding='utf-8'))} probe {mark}"
    done = run(endpoint, script, timeout_s=LONGEST_S, partial=True)
    return machine_of(endpoint.name, done.stdout, mark, catalogue, now=time.time())


def machine_of(host: str, answer: str, mark: str, catalogue: AcceleratorCatalogue, *, now: float) -> Machine:
    """Put a machine together from the probe's answer.

    Raises:
        BoxwrightError: This is not the probe's answer.
    """
    sections = read_sections(answer, mark)
    on_bus = parse(sections, "pci", pci.devices, tool="sysfs", empty_is_fine=True)
    by_lspci = parse(sections, "lspci", pci.names)
    called = {} if isinstance(by_lspci, Unknown) else by_lspci  # names only; sysfs is what counts
    interfaces = parse(sections, "nics", network.hardware_nics, tool="sysfs", empty_is_fine=True)
    return Machine(
        host=host,
        system=parse(sections, "system", hardware.system, tool="DMI"),
        operating_system=parse(sections, "os_release", software.operating_system, tool="os-release"),
        processors=parse(sections, "lscpu", hardware.processors),
        memory_kib=parse(sections, "memory_total", hardware.memory_kib, tool="/proc/meminfo"),
        numa_nodes=parse(sections, "nodes", hardware.numa_nodes, tool="sysfs"),
        dimms=parse(sections, "dmidecode", hardware.dimms),
        accelerators=_then(on_bus, lambda found: pci.accelerators(found, catalogue, called)),
        fabric_switches=_then(on_bus, lambda found: pci.fabric_switches(found, catalogue)),
        nvidia=parse(sections, "nvidia_smi", nvidia.driver, tool="nvidia-smi"),
        disks=parse(sections, "lsblk", disks.disks),
        file_systems=parse(sections, "df", disks.file_systems),
        nics=_then(interfaces, lambda known: parse(sections, "ip", lambda text: network.nics(text, known))),
        listeners=parse(sections, "ports", network.listeners, tool="ss", empty_is_fine=True),
        kernel=parse(sections, "kernel", software.kernel, tool="uname"),
        modules=parse(sections, "modules", software.modules, tool="sysfs", empty_is_fine=True),
        secure_boot=parse(sections, "secure_boot", software.secure_boot, tool="efivars"),
        packages=parse(sections, "packages", software.packages, tool="dpkg-query", empty_is_fine=True),
        programs=parse(sections, "programs", software.programs, tool="command -v", empty_is_fine=True),
        package_problems=parse(sections, "dpkg_audit", str.strip, tool="dpkg --audit", empty_is_fine=True),
        clock=_clock(sections, now),
        twin="twin" in sections and sections["twin"].output.strip() == "yes",
    )


def _then(value: Input | Unknown, use: Callable[[Input], Output]) -> Output | Unknown:
    return value if isinstance(value, Unknown) else use(value)


def _clock(sections: dict[str, Section], now: float) -> Clock | Unknown:
    there = sections["time"].output if "time" in sections else ""
    return parse(sections, "clock", lambda text: software.clock(text, there, now), tool="timedatectl")
