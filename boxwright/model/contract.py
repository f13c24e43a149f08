"""What a machine is held to before anything is installed on it, and who may set a check aside."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from boxwright.model.base import Frozen, HostName
from boxwright.model.checks import known_check

ContractCheck = Literal[
    "machine.serial",
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


def _known(name: str) -> str:
    return known_check(name, get_args(ContractCheck))


class ProfileWaiver(Frozen):
    """A check, of the contract or of `verify`, that a named person sets aside for every box of a kind, for a reason.

    It is shown wherever the check would be.
    """

    check: Annotated[str, AfterValidator(_known)]
    by: Annotated[str, Field(min_length=2, pattern=r"^[^:]+$")]
    reason: Annotated[str, Field(min_length=5)]

    def covers(self, check: str, host: str) -> bool:  # noqa: ARG002  the host matters to a site's alone
        """Whether this waiver is for a check of a host."""
        return self.check == check


class Waiver(ProfileWaiver):
    """The same for boxes of a site."""

    hosts: tuple[HostName, ...] = ()  # none: every host of the site

    def covers(self, check: str, host: str) -> bool:
        """Whether this waiver is for a check of a host."""
        return super().covers(check, host) and (not self.hosts or host in self.hosts)
