"""What a caller says about a twin, and what a lab answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boxwright.errors import BadInputError
from boxwright.model.hardware import Hardware
from boxwright.model.site import Distribution, TwinKind

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def checked_name(name: str) -> str:
    """Return the name of a lab or a twin, which becomes part of paths, or refuse it."""
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} cannot name a lab or a twin",
            hint="Use lower-case letters, digits and hyphens, at most 63 of them.",
        )
    return name


@dataclass(frozen=True)
class TwinSpec:
    """A twin that should run.

    `disk_mib` makes the disk a small one in memory, so that a test can fill it; such a disk is empty again
    after the twin was stopped and started. Without it the disk is as large as the controller's.

    `containers` lets it run containers of its own, with their data in /srv/docker. `vendors` gives it the lab's
    simulated vendors. `devices` are block devices of the controller that it may write to, as its disks.

    `root` is a tree of the caller's own to stand on, instead of the lab's root filesystem; it is not written to.

    A `kind` of "vm" makes it a machine of QEMU instead of a container. It runs containers anyway, has a disk of its
    own, and knows neither `disk_mib` nor `devices`.
    """

    name: str
    distribution: Distribution
    hardware: Hardware
    disk_mib: int | None = None
    containers: bool = False
    vendors: bool = False
    devices: tuple[Path, ...] = ()
    kind: TwinKind = "container"
    root: Path | None = None

    def __post_init__(self) -> None:
        checked_name(self.name)
        if self.kind == "vm" and (self.disk_mib is not None or self.devices or self.root):
            raise BadInputError(
                f"twin {self.name} is a VM, which has one disk of its own: no disk_mib, no devices, no root"
            )


@dataclass(frozen=True)
class RunningTwin:
    """A twin that answers over ssh, and how to enter it. `known_hosts` had its key before it first booted."""

    name: str
    address: str
    key: Path
    known_hosts: Path
    distribution: Distribution
    port: int = 22
    user: str = "root"
    kind: TwinKind = "container"


@dataclass(frozen=True)
class TwinStatus:
    """How a twin is doing. `since` is Unix time of its power-on; `memory_bytes` is what its processes use."""

    name: str
    distribution: Distribution
    address: str
    state: Literal["running", "stopped"]
    since: float | None
    memory_bytes: int
    kind: TwinKind = "container"
