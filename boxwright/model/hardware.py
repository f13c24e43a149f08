"""The contract of a kind of machine: what must be in the box, in the terms that `lscpu`, `lspci` and `lsblk` use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from boxwright.model.base import Frozen, Gibibytes


class Cpu(Frozen):
    """Processors. Counts are of the whole machine unless the name says otherwise."""

    sockets: Annotated[int, Field(ge=1, le=8)] = 1
    cores_per_socket: Annotated[int, Field(ge=1, le=512)]
    threads_per_core: Annotated[int, Field(ge=1, le=2)] = 1
    model: str = ""

    @property
    def cores(self) -> int:
        """Physical cores of the machine."""
        return self.sockets * self.cores_per_socket


class Accelerator(Frozen):
    """A group of equal accelerator cards."""

    name: str
    pci_id: Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]  # vendor:device, as `lspci -nn` shows it
    count: Annotated[int, Field(ge=1, le=64)]
    memory_gib: Gibibytes


class Hardware(Frozen):
    """What a machine of this kind has."""

    cpu: Cpu
    numa_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    memory_gib: Gibibytes
    accelerators: tuple[Accelerator, ...] = ()
    disk_gib: Gibibytes  # free space needed where models and state live
