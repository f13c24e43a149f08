"""From where a batch gets its models, and how long the line takes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boxwright.model.weights import WantedBuild, WantedFile

ASSUMED_MBIT_S = 1000  # an ordinary uplink or switch port; the site's `networks.uplink_mbit_s` says better


@dataclass(frozen=True)
class Transfer:
    """What goes over one line to all machines of a batch."""

    source: str  # "the controller" or "the hubs"
    machines: int  # that lack something
    bytes: int  # of all of them together
    mbit_s: float  # of the line that they share
    basis: str  # where that figure comes from

    @property
    def seconds(self) -> float:
        """How long the line is busy if nothing else is in the way."""
        return self.bytes * 8 / (self.mbit_s * 1e6)


def on_controller(build: WantedBuild, file: WantedFile, folders: Sequence[str]) -> bool:
    """Whether a folder of the controller has a file, where the deploy `models` looks for it."""
    below = Path(build.directory).parts[-2:]
    homes = [Path(folder).expanduser() for folder in folders]
    places = [place for home in homes for place in (home.joinpath(*below, file.name), home / (file.path or file.name))]
    places += [home / file.name for home in homes]
    return any(place.is_file() and place.stat().st_size == file.bytes for place in places)
