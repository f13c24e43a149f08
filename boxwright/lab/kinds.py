"""The kinds of twins, and what a lab asks of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from boxwright.lab import machine
from boxwright.lab.network import LabNetwork
from boxwright.lab.places import TwinPlaces
from boxwright.lab.spec import TwinSpec
from boxwright.lab.vm import machine as vm_machine
from boxwright.model.site import Mirrors, TwinKind


class Kind(Protocol):
    """How twins of one kind are made and run: a module."""

    BOOT_S: float

    def base_of(self, spec: TwinSpec, mirrors: Mirrors, progress: Callable[[str], None]) -> Path:
        """What the twin starts from, in the cache."""

    def make(
        self,
        places: TwinPlaces,
        spec: TwinSpec,
        network: LabNetwork,
        octet: int,
        *,
        base: Path,
        vendors: Path,
        public_key: str,
    ) -> None:
        """Write everything of a new twin below its folder; the record comes last and atomically."""

    def attach(self, network: LabNetwork, octet: int) -> None:
        """Connect the twin to the lab's network."""

    def detach(self, network: LabNetwork, octet: int) -> None:
        """Disconnect it, and remove what its kind leaves on the controller."""

    def supervisor_command(self, places: TwinPlaces, network: LabNetwork, octet: int) -> list[str]:
        """The command that runs the twin until it is powered off."""


def kind_of(name: TwinKind) -> Kind:
    """The module of a kind."""
    return vm_machine if name == "vm" else machine
