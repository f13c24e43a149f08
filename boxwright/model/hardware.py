"""The contract of a kind of machine: what must be in the box, in the terms that `lscpu`, `lspci` and `lsblk` use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, Gibibytes, Identifier

PciId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]  # vendor:device, as `lspci -nn` shows it
Use = Literal["system", "models", "docker"]
CpuFlag = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]  # as /proc/cpuinfo shows it


class Cpu(Frozen):
    """Processors. Counts are of the whole machine unless the name says otherwise."""

    sockets: Annotated[int, Field(ge=1, le=8)] = 1
    cores_per_socket: Annotated[int, Field(ge=1, le=512)]
    threads_per_core: Annotated[int, Field(ge=1, le=2)] = 1
    model: str = ""
    isa: tuple[CpuFlag, ...] = ()  # what the processors must be able to do, of all that they can

    @property
    def cores(self) -> int:
        """Physical cores of the machine."""
        return self.sockets * self.cores_per_socket


class Dimms(Frozen):
    """Memory modules, all alike. Models on the CPU are as fast as the memory channels that hold one."""

    count: Annotated[int, Field(ge=1, le=256)]
    gib: Gibibytes  # of each
    channels_per_socket: Annotated[int, Field(ge=1, le=16)]
    kind: Literal["DDR4", "DDR5"] = "DDR5"

    def channels_populated(self, sockets: int) -> int:
        """How many channels hold a module when they are spread as the board's manual says."""
        return min(self.count, sockets * self.channels_per_socket)


class Accelerator(Frozen):
    """A group of equal accelerator cards. Generation and width are of the slot's link, as negotiated under load."""

    name: str
    pci_id: PciId
    alternatives: tuple[PciId, ...] = ()  # boards that serve as well as `pci_id`
    count: Annotated[int, Field(ge=1, le=64)]
    memory_gib: Gibibytes
    pcie_generation: Annotated[int, Field(ge=1, le=7)] | None = None
    pcie_width: Annotated[int, Field(ge=1, le=16)] | None = None

    @property
    def pci_ids(self) -> tuple[str, ...]:
        """Every board that serves."""
        return (self.pci_id, *self.alternatives)


class Disk(Frozen):
    """A group of equal disks and what lives on them."""

    name: Identifier
    kind: Literal["nvme", "sata"]
    count: Annotated[int, Field(ge=1, le=64)] = 1
    gigabytes: Annotated[int, Field(ge=1)]  # of each; decimal, as on the label
    holds: Annotated[tuple[Use, ...], Field(min_length=1)]


class Nic(Frozen):
    """A group of equal network ports."""

    name: Identifier
    kind: Literal["ethernet", "infiniband"]
    count: Annotated[int, Field(ge=1, le=64)] = 1
    gbit_s: Annotated[int, Field(ge=1, le=1600)]  # of each
    pci_id: PciId | None = None


class Hardware(Frozen):
    """What a machine of this kind has."""

    cpu: Cpu
    numa_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    memory_gib: Gibibytes
    dimms: Dimms | None = None  # None: any population
    accelerators: tuple[Accelerator, ...] = ()
    fabric_switches: Annotated[int, Field(ge=0, le=64)] = 0  # NVSwitch bridges
    disk_gib: Gibibytes  # size of the file system or the blank disk where models and state live
    disks: tuple[Disk, ...] = ()  # none: any
    nics: tuple[Nic, ...] = ()  # none: any
    power_budget_w: Annotated[int, Field(gt=0)] | None = None  # what the supplies must give with one of them gone

    @property
    def accelerator_count(self) -> int:
        """Cards of all kinds."""
        return sum(group.count for group in self.accelerators)

    @model_validator(mode="after")
    def _modules_add_up(self) -> Hardware:
        if self.dimms and self.dimms.count * self.dimms.gib != self.memory_gib:
            total = self.dimms.count * self.dimms.gib
            raise ValueError(f"{self.dimms.count} modules of {self.dimms.gib:g} GiB are {total:g} GiB, not memory_gib")
        return self

    @model_validator(mode="after")
    def _system_disk_is_its_own(self) -> Hardware:
        uses = [use for disk in self.disks for use in disk.holds]
        twice = sorted({use for use in uses if uses.count(use) > 1})
        if twice:
            raise ValueError(f"disks: {', '.join(twice)} lives in two places")
        for disk in self.disks:
            if "system" in disk.holds and len(disk.holds) > 1:
                raise ValueError(f"disks: '{disk.name}' holds the system; models and docker would fill it up")
        return self
