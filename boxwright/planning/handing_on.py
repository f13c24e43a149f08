"""Whether machines of a batch hand files of models on to each other, by how long either way takes.

One machine gets a file from where files come from. Whoever has it whole hands it on, to one machine at a time, so
that twice as many have it after each hop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boxwright.model.weights import WantedBuild
from boxwright.planning.transfers import on_controller

HOP_S = 2.0  # what a hop takes besides its bytes: a login, a unit, its port; on twins, see benchmarks/README.md
WORTH = 0.8  # of the time that it takes without: figures are predictions, and a hop is one more thing that can go wrong
_LEAST_PATIENCE_S = 120


@dataclass(frozen=True)
class LackedFile:
    """A file that machines of a batch still have to get.

    Attributes:
        path: On the machine.
        bytes: Of the whole file.
        machines: That lack it, by their numbers.
        left: Bytes that all of them together still have to get.
        holders: How many machines have it already.
        on_controller: Whether the controller has it, or else the hubs.
    """

    path: str
    bytes: int
    machines: frozenset[int]
    left: int
    holders: int
    on_controller: bool

    def alone_s(self, mbit_s: float) -> float:
        """Seconds until all have it, each for itself, on a line that they share."""
        return _seconds(self.left, mbit_s)

    def first_s(self, mbit_s: float, between_mbit_s: float) -> float:
        """Seconds until the first of them has it; none where one has it already."""
        return 0.0 if self.holders else _seconds(self.bytes, min(mbit_s, between_mbit_s))

    def spread_s(self, between_mbit_s: float) -> float:
        """Seconds from then on until all have it."""
        begin = max(self.holders, 1)
        hops = math.ceil(math.log2((self.holders + len(self.machines)) / begin))
        return hops * (_seconds(self.bytes, between_mbit_s) + HOP_S)

    def pays(self, mbit_s: float, between_mbit_s: float) -> bool:
        """Whether it is there clearly sooner when it is handed on."""
        handed = self.first_s(mbit_s, between_mbit_s) + self.spread_s(between_mbit_s)
        return self.holders + len(self.machines) > 1 and handed < WORTH * self.alone_s(mbit_s)


@dataclass(frozen=True)
class HandingOn:
    """What was decided for the files of one source.

    Attributes:
        patience_s: Seconds that a machine waits for others at most, by the paths of the files that are handed on. Twice
            what all files take without: nobody waits longer for a slow machine than that.
        seconds: How long it takes; where nothing is handed on, how long it would take if everything were.
    """

    patience_s: dict[str, int]
    seconds: float


def lacked_files(
    builds: Sequence[WantedBuild], there: Sequence[Mapping[str, int]], folders: Sequence[str]
) -> list[LackedFile]:
    """What the machines of a batch still have to get.

    Args:
        builds: What each shall have.
        there: Of each machine, sizes of files by their paths, those of halves, which end in .part, among them.
        folders: Folders of the controller.
    """
    found = []
    for build in builds:
        for file in build.files:
            path = f"{build.directory}/{file.name}"
            without = {number: one for number, one in enumerate(there) if one.get(path) != file.bytes}
            if without:
                left = sum(max(0, file.bytes - one.get(f"{path}.part", 0)) for one in without.values())
                near = on_controller(build, file, folders)
                found.append(LackedFile(path, file.bytes, frozenset(without), left, len(there) - len(without), near))
    return found


def decide(files: Sequence[LackedFile], mbit_s: float, between_mbit_s: float) -> HandingOn:
    """Decide for each file of one source whether it is handed on.

    Args:
        files: Of that source.
        mbit_s: Of the line from there, which all machines share.
        between_mbit_s: What one machine sends to another.
    """
    handed = [one for one in files if one.pays(mbit_s, between_mbit_s)]
    counted = handed or files
    alone = sum(one.alone_s(mbit_s) for one in files if one not in counted)
    # While one file spreads, the next ones arrive: only the last one's hops are time of their own.
    spread = max((one.spread_s(between_mbit_s) for one in counted), default=0.0)
    seconds = alone + sum(one.first_s(mbit_s, between_mbit_s) for one in counted) + spread
    patience = math.ceil(max(_LEAST_PATIENCE_S, 2 * sum(one.alone_s(mbit_s) for one in files)))
    return HandingOn({one.path: patience for one in handed}, seconds)


def _seconds(count: int, mbit_s: float) -> float:
    return count * 8 / (mbit_s * 1e6)
