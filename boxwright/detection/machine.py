"""A machine as it was found. What could not be found out is `Unknown` with a reason, never a guess or a default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.accelerators import Flavour
from boxwright.model.base import Frozen

Count = Annotated[int, Field(ge=0)]
UNKNOWN_NODE = -1  # what the kernel writes where the firmware names no node


class Unknown(Frozen):
    """Something that could not be found out."""

    reason: str


class System(Frozen):
    """The machine's names, from its firmware. Empty where the firmware says nothing."""

    vendor: str = ""
    product: str = ""
    serial: str = ""
    board: str = ""
    bios: str = ""


class OperatingSystem(Frozen):
    """What `/etc/os-release` says."""

    id: str
    version: str
    title: str


class Processors(Frozen):
    """What `lscpu` says, of the whole machine unless the name says otherwise."""

    model: str
    architecture: str
    sockets: Annotated[int, Field(ge=1)]
    cores_per_socket: Annotated[int, Field(ge=1)]
    threads_per_core: Annotated[int, Field(ge=1)]
    flags: tuple[str, ...] = ()  # what they can do, by the kernel's names


class NumaNode(Frozen):
    """A NUMA node, as sysfs shows it."""

    id: Count
    cpus: str  # as the kernel writes it: 0-3,8
    memory_kib: Count | None
    distances: tuple[Count, ...]


class Dimm(Frozen):
    """A slot for a memory module. `gib` is None when the slot is empty."""

    slot: str
    gib: float | None
    kind: str = ""  # DDR4, DDR5
    mt_s: Count | None = None
    channel: str | None = None  # processor and channel; None when the slot's name does not tell


class PcieLink(Frozen):
    """A PCIe link. None: not known. An idle card lowers its generation, never its width."""

    generation: Count | None = None
    width: Count | None = None
    max_generation: Count | None = None
    max_width: Count | None = None


class GpuReading(Frozen):
    """What `nvidia-smi` says of one card; None where it says [N/A] or an error."""

    slot: str
    name: str | None
    uuid: str | None
    serial: str | None
    vbios: str | None
    memory_mib: Count | None
    power_limit_w: float | None
    persistence: bool | None
    ecc: bool | None
    link: PcieLink
    errors: tuple[str, ...] = ()  # fields that read ERR! or name an error


class NvidiaDriver(Frozen):
    """The driver that answers, and its cards."""

    version: str | None
    cuda: str | None
    gpus: tuple[GpuReading, ...]


class AcceleratorFound(Frozen):
    """An accelerator on the PCI bus. `accelerator` is its id in the catalogue, None when it is not listed."""

    slot: str
    pci_id: str
    subsystem: str
    name: str
    vendor: str
    accelerator: str | None
    recipe: bool
    numa_node: int
    link: PcieLink
    driver: str = ""  # the kernel driver that is bound


class Disk(Frozen):
    """A whole disk. `holds_data` when anything on it has a file system, a partition or a use."""

    name: str
    bytes: Count
    model: str = ""
    serial: str = ""
    transport: str = ""
    rotational: bool = False
    holds_data: bool = False
    mounts: tuple[str, ...] = ()


class FileSystem(Frozen):
    """A mounted file system on a disk."""

    device: str
    mount: str
    bytes: Count
    free_bytes: Count


class Nic(Frozen):
    """A network interface that is hardware."""

    name: str
    mac: str
    up: bool
    addresses: tuple[str, ...]
    mbit_s: Count | None
    numa_node: int = UNKNOWN_NODE


class Listener(Frozen):
    """A port that something listens on."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: Annotated[int, Field(ge=0, le=65535)]


class Kernel(Frozen):
    """The running kernel, the installed ones, and which of them have headers."""

    release: str
    installed: tuple[str, ...]
    with_headers: tuple[str, ...]


class Modules(Frozen):
    """The kernel modules that matter, by name and version, and the flavour of the NVIDIA one on disk."""

    loaded: dict[str, str]
    nvidia_flavour: Flavour | None


class Package(Frozen):
    """An installed Debian package."""

    name: str
    version: str
    held: bool


class Clock(Frozen):
    """Whether the time is kept by the network. `offset_s` is against the controller, to a second or two."""

    synchronized: bool
    time_zone: str
    offset_s: float | None = None


class Machine(Frozen):
    """Everything that one probe found."""

    host: str
    system: System | Unknown
    operating_system: OperatingSystem | Unknown
    processors: Processors | Unknown
    memory_kib: Count | Unknown
    numa_nodes: tuple[NumaNode, ...] | Unknown
    dimms: tuple[Dimm, ...] | Unknown
    accelerators: tuple[AcceleratorFound, ...] | Unknown
    fabric_switches: Count | Unknown
    nvidia: NvidiaDriver | Unknown
    disks: tuple[Disk, ...] | Unknown
    file_systems: tuple[FileSystem, ...] | Unknown
    nics: tuple[Nic, ...] | Unknown
    listeners: tuple[Listener, ...] | Unknown
    kernel: Kernel | Unknown
    modules: Modules | Unknown
    secure_boot: bool | Unknown
    packages: tuple[Package, ...] | Unknown
    programs: dict[str, str] | Unknown
    package_problems: str | Unknown  # what dpkg --audit says; empty when all is well
    clock: Clock | Unknown
    twin: bool = False  # a throw-away host that stands in for a machine

    @property
    def release(self) -> str:
        """What it runs, as locks name it: `debian-12`."""
        system = self.operating_system
        return f"{system.id}-{system.version}" if isinstance(system, OperatingSystem) else "an unknown release"
