"""A twin whose power can be cut: what it had written and not synced is lost, as on a machine.

Killing a container loses nothing that it wrote: the controller's kernel keeps it. So the twin's disk is an ext4 of its
own, and at the cut that file system is shut down as xfstests do it, with all that is not on its disk yet.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fresh_lab import fresh_lab

from boxwright.errors import LabError
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.lab.cgroups import wait_for
from boxwright.lab.places import LabPlaces
from boxwright.lab.processes import for_lab

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_LOG = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written any more


@dataclass(frozen=True)
class PoweredTwin:
    """A twin on a disk of its own, on which the data of its containers are, too."""

    lab: Lab
    twin: RunningTwin
    disk: Path  # where its file system is mounted on the controller
    containers: Path  # where what belongs to its containers is mounted
    image: Path

    def commands(self) -> list[str]:
        """The command lines of all its processes, as the controller sees them."""
        found = []
        for pid in self._pids():
            with suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return found

    def until(self, seen: Callable[[], bool], seconds: float) -> None:
        """Wait for a moment of its life, without asking the twin itself.

        Raises:
            AssertionError: It did not come.
        """
        assert wait_for(seen, seconds), f"not in {seconds} s; what runs there: {self.commands()}"

    def cut(self) -> None:
        """Cut its power: what is not on the disk never gets there, and nothing of it runs on."""
        folder = os.open(self.disk, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(folder)
        killed: set[int] = set()
        while pids := self._pids():
            killed.update(pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        # Their group forgets them before they have let go of their files and locks.
        assert wait_for(lambda: not any(map(_runs, killed)), 30), "something of the twin does not end"
        _unmount(self.containers, self.disk)
        # The dead file system lives on while it is mounted in any namespace: the box gets a copy of its disk.
        copy = self.image.with_name(f"{self.image.name}.copy")
        subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
        copy.replace(self.image)

    def start(self, spec: TwinSpec) -> None:
        """Give it power again: its file system is mounted as its journal left it, and it boots."""
        subprocess.run(["mount", "-o", "loop", self.image, self.disk], check=True)
        data = self.disk / "containers"
        data.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", data, self.containers], check=True)
        try:
            self.lab.up([spec])
        except LabError as error:
            raise AssertionError(f"{error}\n{error.output}") from error

    def _pids(self) -> list[int]:
        return for_lab(self.lab.name).pids(f"twin-{self.twin.name}")


@contextmanager
def powered_twin(lab_name: str, spec: TwinSpec, image: Path, mebibytes: int) -> Iterator[PoweredTwin]:
    """Boot a twin on a disk of its own, in a lab of its own.

    Args:
        lab_name: Of the lab.
        spec: Of the twin.
        image: The file of its disk, which is made.
        mebibytes: Of the disk.
    """
    places = LabPlaces.of(lab_name).twin(spec.name)
    for_lab(lab_name).stop(f"twin-{spec.name}")  # what a killed run of the tests left
    _unmount(places.containers, places.disk)
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with fresh_lab(lab_name) as lab:
        (twin,) = lab.up([spec])
        made = PoweredTwin(lab, twin, places.disk, places.containers, image)
        for_lab(lab_name).stop(f"twin-{spec.name}")
        try:
            made.start(spec)
            yield made
        finally:
            for_lab(lab_name).stop(f"twin-{spec.name}")
            _unmount(places.containers, places.disk)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _unmount(*places: Path) -> None:
    for place in places:

        def done(place: Path = place) -> bool:
            return subprocess.run(["umount", place], capture_output=True, check=False).returncode == 0

        assert not place.is_mount() or wait_for(done, 10), f"{place} is still in use"
