"""A line of boxes out of one bundle: one bare twin, then several at once, from nothing to verified boxes; and again.

    PYTHONPATH=. python benchmarks/line.py --bundle DIR [--hosts 8]

The twins boot before the clock starts. DIR holds a bundle of profile `lab` on Debian 12. Twins share the processors of
the controller: on a line each box has its own, and only what the controller takes is shared. So the time of both is
told apart: processor seconds of the controller's processes, and of the twins. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Memory, processor_seconds, twins

REPO = Path(__file__).parents[1]
SITE = "bench-line"


@dataclass(frozen=True)
class Measured:
    """A run over some hosts; seconds, and MiB of memory."""

    hosts: int
    wall: float
    of_controller: float
    of_twins: float
    peak_mib: float
    load: tuple[float, float]  # before it, and behind it
    stages: dict[str, float]  # of the host that took longest

    def show(self, what: str) -> None:
        """Print it."""
        print(
            f"{self.hosts} twins, {what}: {self.wall:.1f} s; processor: controller {self.of_controller:.1f} s, twins "
            f"{self.of_twins:.1f} s; controller {self.peak_mib:.0f} MiB; load {self.load[0]:.1f} before, "
            f"{self.load[1]:.1f} behind"
        )
        print("  slowest host: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.stages.items()))


@dataclass(frozen=True)
class Line:
    """Twins that run, and the command for them."""

    hosts: int
    bundle: str
    site: Path
    environment: dict[str, str]

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        argv = [sys.executable, "-P", "-m", "boxwright.program", *words, "--site", str(self.site), "--json"]
        return subprocess.run(argv, env=self.environment, cwd=REPO, capture_output=True, text=True, check=False)

    def provisioned(self) -> Measured:
        """Provision them out of the bundle."""
        running = twins(SITE)
        load, began, taken, own = os.getloadavg()[0], time.monotonic(), processor_seconds(running), os.times()
        with Memory() as memory:
            ran = self.verb("provision", "--profile", "lab", "--bundle", self.bundle, "--yes")
        wall, spent = time.monotonic() - began, os.times()
        of_twins = processor_seconds(running) - taken
        _well(ran)
        _whole(ran.stdout, self.hosts)
        of_controller = spent.children_user + spent.children_system - own.children_user - own.children_system
        loads = (load, os.getloadavg()[0])
        return Measured(self.hosts, wall, of_controller, of_twins, memory.peak_mib, loads, _slowest(ran.stdout))


@contextmanager
def line(hosts: int, bundle: str) -> Iterator[Line]:
    """So many bare twins, with a state of their own; gone behind it."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(prefix="bw-") as runtime:
        folder = Path(name)
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text("of the benchmark\n")
        environment = os.environ | {
            "BOXWRIGHT_VAULT_PASSWORD_FILE": str(folder / "password"),
            "BOXWRIGHT_STATE": str(folder / "state"),
            "BOXWRIGHT_RUNTIME": runtime,
            "PYTHONPATH": str(REPO),
        }
        site = folder / "site.yml"
        rows = ", ".join(f"{{name: {SITE}-{number}}}" for number in range(1, hosts + 1))
        site.write_text(f"name: {SITE}\ntwin: {{distribution: debian-12}}\nhosts: [{rows}]\n")
        made = Line(hosts, bundle, site, environment)
        try:
            _well(made.verb("lab.up", "--profile", "lab"))
            yield made
        finally:
            made.verb("lab.down")


def _well(ran: subprocess.CompletedProcess[str]) -> None:
    if ran.returncode:
        sys.exit(f"{ran.args[3]} ended with {ran.returncode}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")


def _whole(out: str, hosts: int) -> None:
    """Each host was verified, and no check failed."""
    checks = [one for one in map(json.loads, out.splitlines()) if one["type"] == "check"]
    passed = Counter(one["host"] for one in checks if one["result"] == "pass")
    if len(passed) != hosts or any(one["result"] == "fail" for one in checks):
        sys.exit(f"not every host became a box: {passed}")
    print(f"  verified: {len(passed)} hosts, {min(passed.values())} checks passed on each")


def _slowest(out: str) -> dict[str, float]:
    told = [one for one in map(json.loads, out.splitlines()) if one["type"] == "summary"]
    last = max(told, key=lambda one: one["seconds"])
    return {name: stage["seconds"] for name, stage in last["stages"].items()}


def main() -> None:
    """Measure one, then several; print both and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--hosts", type=int, default=8)
    wanted = parser.parse_args()
    walls: dict[tuple[int, str], float] = {}
    for hosts in (1, wanted.hosts):
        with line(hosts, wanted.bundle) as twins_of_it:
            for what in ("from nothing", "again"):
                told = twins_of_it.provisioned()
                told.show(what)
                walls[hosts, what] = told.wall
    for what in ("from nothing", "again"):
        ratio = walls[wanted.hosts, what] / walls[1, what]
        print(f"{what}: {wanted.hosts} twins take {ratio:.2f} times as long as one")


if __name__ == "__main__":
    main()
