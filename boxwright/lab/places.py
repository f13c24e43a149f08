"""Where labs keep things on the controller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boxwright import places


def labs() -> Path:
    """The folder of all labs."""
    return places.state().absolute() / "lab"


def root_filesystems() -> Path:
    """The cache of root filesystems."""
    return places.cache().absolute() / "rootfs"


def vm_images() -> Path:
    """The cache of disks that VM twins start from."""
    return places.cache().absolute() / "vm" / "images"


def vm_templates() -> Path:
    """The cache of frozen machines that VM twins go on from."""
    return places.cache().absolute() / "vm" / "templates"


def vagrant() -> Path:
    """The boxes for Vagrant, the key that enters their machines, and the machines' pinned key."""
    return places.state().absolute() / "vagrant"


@dataclass(frozen=True)
class LabPlaces:
    """The paths of one lab."""

    root: Path

    @classmethod
    def of(cls, lab: str) -> LabPlaces:
        """The paths of the lab of this name."""
        return cls(labs() / lab)

    @property
    def lock(self) -> Path:
        """Held while a command alters the lab. Beside the folder, so that it outlives `down`."""
        return self.root.with_name(f".{self.root.name}.lock")

    @property
    def record(self) -> Path:
        """What the lab was given for as long as it exists: its subnet."""
        return self.root / "lab.json"

    @property
    def key(self) -> Path:
        """The private key that enters every twin."""
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys of all twins, as ssh reads them."""
        return self.root / "known_hosts"

    @property
    def proxy(self) -> Path:
        """The folder of the package proxy."""
        return self.root / "proxy"

    @property
    def vendors(self) -> Path:
        """The simulated vendors of the lab: repositories and installers."""
        return self.root / "vendors"

    @property
    def twins(self) -> Path:
        """The folder of the twins."""
        return self.root / "twins"

    def twin(self, name: str) -> TwinPlaces:
        """The paths of one twin."""
        return TwinPlaces(self.twins / name)


@dataclass(frozen=True)
class TwinPlaces:
    """The paths of one twin."""

    root: Path

    @property
    def record(self) -> Path:
        """Written last when a twin is made: a folder without it is half-made and may be thrown away."""
        return self.root / "twin.json"

    @property
    def seed(self) -> Path:
        """Files that make this twin differ from its root filesystem: a read-only layer of its disk."""
        return self.root / "seed"

    @property
    def disk(self) -> Path:
        """What the twin wrote."""
        return self.root / "disk"

    @property
    def containers(self) -> Path:
        """The data of the twin's own containers: not on its overlay, which cannot lie under another one."""
        return self.root / "containers"

    @property
    def mount(self) -> Path:
        """Where the supervisor mounts the twin's root, in a mount namespace of its own."""
        return self.root / "root"

    @property
    def views(self) -> Path:
        """Where the supervisor mounts the views of hardware and kernel, for the twin to put in place."""
        return self.root / "views"

    @property
    def view_files(self) -> Path:
        """The generated hardware views and the script that puts them in place, all in one file."""
        return self.root / "views.json"

    @property
    def console(self) -> Path:
        """What the twin printed on its console, all boots."""
        return self.root / "console.log"
