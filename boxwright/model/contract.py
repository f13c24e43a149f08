"""What a machine is held to before anything is installed on it, and who may set one of these aside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.base import Frozen, HostName

ContractCheck = Literal[
    "accelerators.kind",
    "accelerators.count",
    "accelerators.numa_nodes",
    "fabric.switches",
    "pcie.width",
    "pcie.generation",
    "cpu.sockets",
    "cpu.cores",
    "cpu.model",
    "cpu.isa",
    "numa.nodes",
    "memory.size",
    "memory.channels",
    "disk.size",
    "nics.count",
]


class Waiver(Frozen):
    """A check that a named person sets aside for a reason. It is shown wherever the check would be."""

    check: ContractCheck
    by: Annotated[str, Field(min_length=2)]
    reason: Annotated[str, Field(min_length=5)]
    hosts: tuple[HostName, ...] = ()  # none: every host of the site

    def covers(self, check: str, host: str) -> bool:
        """Whether this waiver is for a check of a host."""
        return self.check == check and (not self.hosts or host in self.hosts)
