"""What a twin shows of its machine: PCI devices, NUMA nodes and processors, made from the hardware contract.

Each function is pure and returns files by their path below the view's folder, as the kernel would show them
in /sys or /proc, in as much detail as `lspci`, `lscpu` and `numactl -H` read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from boxwright.lab.firmware_view import firmware_tables
from boxwright.model.hardware import Accelerator, Cpu, Hardware

Files = dict[str, bytes]

_DISPLAY, _3D, _PROCESSING = 0x030000, 0x030200, 0x120000
_ETHERNET, _INFINIBAND, _BRIDGE = 0x020000, 0x020700, 0x068000
_NVSWITCH = "10de:22a3"
_GIGATRANSFERS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0", 7: "128.0"}
_NO_RESOURCE = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
_NODE_MEMORY = (
    *(
        "MemUsed",
        "SwapCached",
        "Active",
        "Inactive",
        "Active(anon)",
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
    ),
    *("Unevictable", "Mlocked", "Dirty", "Writeback", "FilePages", "Mapped", "AnonPages", "Shmem", "KernelStack"),
    *("PageTables", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "AnonHugePages", "FileHugePages"),
)
_NUMA_COUNTERS = ("numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node")
_LOCAL, _SAME_SOCKET, _OTHER_SOCKET = 10, 12, 21


def cpus_by_node(hardware: Hardware) -> list[list[int]]:
    """The logical processors of each NUMA node. All first threads are numbered before all second ones."""
    cpu, nodes = hardware.cpu, hardware.numa_nodes
    placed: list[list[int]] = [[] for _ in range(nodes)]
    for thread in range(cpu.threads_per_core):
        for core in range(cpu.cores):
            placed[core * nodes // cpu.cores].append(thread * cpu.cores + core)
    return placed


def cpu_list(cpus: Iterable[int]) -> str:
    """Ranges as the kernel writes them: `0-3,8`."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def cpu_mask(cpus: Iterable[int], total: int) -> str:
    """A bit mask as the kernel writes it: hexadecimal words of 32 bits, the highest first."""
    bits = sum(1 << cpu for cpu in cpus)
    words = [(bits >> shift) & 0xFFFFFFFF for shift in range(0, max(total, 1), 32)]
    return ",".join(f"{word:08x}" for word in reversed(words))


@dataclass(frozen=True)
class PciDevice:
    """What one device on the bus shows. `kind` is its class code."""

    pci_id: str
    kind: int
    generation: int | None = None
    width: int | None = None


def bus(hardware: Hardware) -> list[list[PciDevice]]:
    """The groups of devices on the bus: accelerator cards, switches of their fabric, network cards."""
    cards = [
        PciDevice(card.pci_id, pci_class(card), card.pcie_generation, card.pcie_width)
        for card in hardware.accelerators
        for _ in range(card.count)
    ]
    switches = [PciDevice(_NVSWITCH, _BRIDGE)] * hardware.fabric_switches
    nics = [
        PciDevice(nic.pci_id, _INFINIBAND if nic.kind == "infiniband" else _ETHERNET)
        for nic in hardware.nics
        if nic.pci_id
        for _ in range(nic.count)
    ]
    return [cards, switches, nics]


def pci_devices(hardware: Hardware) -> Files:
    """The folder /sys/bus/pci/devices: one entry per device, each group spread over the NUMA nodes."""
    nodes = hardware.numa_nodes
    placed = cpus_by_node(hardware)
    buses_per_node = 255 // nodes
    used = [0] * nodes
    files: Files = {}
    for group in bus(hardware):
        for index, device in enumerate(group):
            node = index * nodes // len(group)
            number = 1 + node * buses_per_node + used[node] % buses_per_node
            slot = used[node] // buses_per_node  # more devices than buses share them
            used[node] += 1
            files |= _pci_device(device, f"0000:{number:02x}:{slot:02x}.0", node, placed[node])
    return files


def _pci_device(device: PciDevice, slot: str, node: int, cpus: list[int]) -> Files:
    vendor, number = (int(part, 16) for part in device.pci_id.split(":"))
    kind = device.kind
    base, sub = kind >> 16, kind >> 8 & 255
    alias = f"pci:v{vendor:08X}d{number:08X}sv{vendor:08X}sd{0:08X}bc{base:02X}sc{sub:02X}i00"
    uevent = (
        f"PCI_CLASS={kind:X}\nPCI_ID={vendor:04X}:{number:04X}\nPCI_SUBSYS_ID={vendor:04X}:0000\n"
        f"PCI_SLOT_NAME={slot}\nMODALIAS={alias}\n"
    )
    texts = {
        "vendor": f"0x{vendor:04x}\n",
        "device": f"0x{number:04x}\n",
        "class": f"0x{kind:06x}\n",
        "revision": "0xa1\n",
        "subsystem_vendor": f"0x{vendor:04x}\n",
        "subsystem_device": "0x0000\n",
        "irq": "0\n",
        "resource": _NO_RESOURCE * 13,
        "numa_node": f"{node}\n",
        "local_cpulist": cpu_list(cpus) + "\n",
        "modalias": alias + "\n",
        "uevent": uevent,
    }
    if device.generation:
        speed = f"{_GIGATRANSFERS[device.generation]} GT/s PCIe\n"
        texts |= {"current_link_speed": speed, "max_link_speed": speed}
    if device.width:
        texts |= {"current_link_width": f"{device.width}\n", "max_link_width": "16\n"}
    files = {f"{slot}/{name}": text.encode() for name, text in texts.items()}
    files[f"{slot}/config"] = pci_config(vendor, number, kind)
    return files


def pci_class(card: Accelerator) -> int:
    """The class code: NVIDIA's cards with a screen are VGA controllers, its others 3D controllers."""
    if not card.pci_id.startswith("10de:"):
        return _PROCESSING
    return _DISPLAY if re.search(r"RTX|GeForce", card.name, re.IGNORECASE) else _3D


def pci_config(vendor: int, device: int, kind: int) -> bytes:
    """The first 256 bytes of configuration space of a device without address ranges and capabilities."""
    command, status, revision, header_type, interrupt_pin = 0x0006, 0x0000, 0xA1, 0x00, 0x01
    head = struct.pack("<HHHH", vendor, device, command, status)
    head += struct.pack("<BBBB", revision, kind & 255, kind >> 8 & 255, kind >> 16)
    head += struct.pack("<BBBB", 0, 0, header_type, 0)
    head = head.ljust(0x2C, b"\0") + struct.pack("<HH", vendor, 0)
    head = head.ljust(0x3D, b"\0") + bytes([interrupt_pin])
    return head.ljust(256, b"\0")


def numa_nodes(hardware: Hardware) -> Files:
    """The folder /sys/devices/system/node."""
    nodes = hardware.numa_nodes
    placed = cpus_by_node(hardware)
    total = sum(map(len, placed))
    kib = int(hardware.memory_gib * 1024 * 1024) // nodes
    everywhere = cpu_list(range(nodes)) + "\n"
    names = ("online", "possible", "has_cpu", "has_memory", "has_normal_memory")
    files = {name: everywhere.encode() for name in names}
    for node, cpus in enumerate(placed):
        distances = " ".join(str(distance(hardware, node, other)) for other in range(nodes))
        texts = {
            "cpulist": cpu_list(cpus) + "\n",
            "cpumap": cpu_mask(cpus, total) + "\n",
            "distance": distances + "\n",
            "meminfo": _node_meminfo(node, kib),
            "numastat": "".join(f"{counter} 0\n" for counter in _NUMA_COUNTERS),
        }
        files |= {f"node{node}/{name}": text.encode() for name, text in texts.items()}
    return files


def _node_meminfo(node: int, kib: int) -> str:
    """All of it free; every line that readers of the file look for is there."""
    values = {"MemTotal": kib, "MemFree": kib} | dict.fromkeys(_NODE_MEMORY, 0)
    lines = [f"Node {node} {name + ':':<15}{value:>9} kB\n" for name, value in values.items()]
    return "".join(lines + [f"Node {node} HugePages_{name + ':':<7}{0:>5}\n" for name in ("Total", "Free", "Surp")])


def distance(hardware: Hardware, one: int, other: int) -> int:
    """How far two nodes are from each other, as firmware tells it: 10 is the node itself."""
    if one == other:
        return _LOCAL
    sockets, nodes = hardware.cpu.sockets, hardware.numa_nodes
    return _SAME_SOCKET if one * sockets // nodes == other * sockets // nodes else _OTHER_SOCKET


def processors(cpu: Cpu) -> Files:
    """The folder /sys/devices/system/cpu."""
    total = cpu.cores * cpu.threads_per_core
    everyone = cpu_list(range(total)) + "\n"
    files = {name: everyone.encode() for name in ("online", "possible", "present")}
    files |= {"offline": b"\n", "kernel_max": b"8191\n"}
    for number in range(total):
        core = number % cpu.cores
        socket = core // cpu.cores_per_socket
        threads = [core + cpu.cores * thread for thread in range(cpu.threads_per_core)]
        package = [n for n in range(total) if n % cpu.cores // cpu.cores_per_socket == socket]
        texts = {
            "physical_package_id": str(socket),
            "core_id": str(core % cpu.cores_per_socket),
            **{name: cpu_mask(threads, total) for name in ("thread_siblings", "core_cpus")},
            **{name: cpu_mask(package, total) for name in ("core_siblings", "package_cpus")},
            **{f"{name}_list": cpu_list(threads) for name in ("thread_siblings", "core_cpus")},
            **{f"{name}_list": cpu_list(package) for name in ("core_siblings", "package_cpus")},
        }
        files |= {f"cpu{number}/topology/{name}": f"{text}\n".encode() for name, text in texts.items()}
        if number:  # the first processor cannot be switched off
            files[f"cpu{number}/online"] = b"1\n"
    return files


def cpuinfo(cpu: Cpu, real: str) -> bytes:
    """The file /proc/cpuinfo: the controller's first processor, numbered anew.

    Its flags are true ones, and those that the contract asks for: a program that believes them may be wrong.
    """
    template = [_with_flags(line, cpu.isa) for line in real.split("\n\n", 1)[0].splitlines()]
    blocks = []
    for number in range(cpu.cores * cpu.threads_per_core):
        core = number % cpu.cores
        values = {
            "processor": number,
            "physical id": core // cpu.cores_per_socket,
            "siblings": cpu.cores_per_socket * cpu.threads_per_core,
            "core id": core % cpu.cores_per_socket,
            "cpu cores": cpu.cores_per_socket,
            "apicid": number,
            "initial apicid": number,
        }
        named: dict[str, object] = {**values, **({"model name": cpu.model} if cpu.model else {})}
        blocks.append("\n".join(_renumbered(line, named) for line in template))
    return ("\n\n".join(blocks) + "\n\n").encode()


def _with_flags(line: str, asked: tuple[str, ...]) -> str:
    label, _, flags = line.partition(":")
    added = [flag for flag in asked if flag not in flags.split()]
    return " ".join([line, *added]) if label.strip() == "flags" and added else line


def _renumbered(line: str, values: dict[str, object]) -> str:
    label, separator, _ = line.partition(":")
    key = label.strip()
    return f"{label}{separator} {values[key]}" if separator and key in values else line


def meminfo(hardware: Hardware, real: str) -> bytes:
    """The file /proc/meminfo: the contract's memory, as much in use as on the controller when the twin was made."""
    total = int(hardware.memory_gib * 1024 * 1024)
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+([0-9]+) kB", real, re.MULTILINE)}
    used = max(kib.get("MemTotal", 0) - kib.get("MemAvailable", 0), 0)
    free = max(total - used, total // 2)
    values = {"MemTotal": total, "MemFree": free, "MemAvailable": free}
    lines = []
    for line in real.splitlines():
        name = line.partition(":")[0]
        lines.append(f"{name + ':':<16}{values[name]:>8} kB" if name in values else line)
    return ("\n".join(lines) + "\n").encode()


def all_views(hardware: Hardware, real_cpuinfo: str, real_meminfo: str) -> Files:
    """Every generated file of a twin, below one folder per view."""
    trees = {"pci": pci_devices(hardware), "node": numa_nodes(hardware), "cpu": processors(hardware.cpu)}
    files = {f"{view}/{path}": content for view, tree in trees.items() for path, content in tree.items()}
    files["cpuinfo"] = cpuinfo(hardware.cpu, real_cpuinfo)
    files["meminfo"] = meminfo(hardware, real_meminfo)
    files |= {f"firmware/dmi/tables/{name}": content for name, content in firmware_tables(hardware).items()}
    return files
