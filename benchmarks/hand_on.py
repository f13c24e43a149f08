"""A model for several boxes over one slow line: each gets its own from the controller, or they hand it on.

    PYTHONPATH=.:tests/lab python benchmarks/hand_on.py [--hosts 8] [--megabytes 500] [--mbit 200]

Twins on this machine, and many random bytes under a model's name; stage `models` alone, from nothing, both ways. `tc`
makes the controller's line towards the twins so slow; the twins' wires among each other are as fast as this machine is.
That each gets its own is what the run decides itself, where the site says that machines send to each other at 1 Mbit/s.
What the controller sends includes 8 MB to each twin, by which the run measures the line. Needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_model import add_bulk_model
from fresh_lab import fresh_lab
from processes import processor_seconds, twins

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

REPO = Path(__file__).parents[1]
NAME = "bench-hand-on"
SLOW_BETWEEN = "networks: {between_mbit_s: 1}\n"


@dataclass(frozen=True)
class Way:
    """A run: seconds, and bytes that left the controller."""

    predicted: float
    wall: float
    models: tuple[float, ...]  # seconds of the stage, host by host
    sent: int
    of_controller: float  # seconds of processor
    of_twins: float
    handed: bool

    def show(self, what: str, size: int) -> None:
        """Print it."""
        print(
            f"{what}: stage models {max(self.models):.1f} s for the last box, {min(self.models):.1f} s for the first "
            f"(predicted {self.predicted:.0f} s), command {self.wall:.1f} s; the controller sent "
            f"{self.sent / 1e6:.0f} MB, {self.sent / size:.2f} times the model; "
            f"processor: controller {self.of_controller:.0f} s, twins "
            f"{self.of_twins:.0f} s; load {os.getloadavg()[0]:.1f} behind"
        )


@dataclass(frozen=True)
class Bench:
    """Twins that run, and the command for them."""

    words: tuple[str, ...]
    file: str
    sha256: str
    twins: Sequence[RunningTwin]
    environment: dict[str, str]

    @property
    def wire(self) -> str:
        """The controller's end of the wire to the twins."""
        return f"bwlab{self.twins[0].address.split('.')[2]}"

    def on_all(self, script: str) -> list[str]:
        """Run a script on every twin."""
        ends = [Endpoint(one.name, one.address, one.port, one.user, one.key, one.known_hosts, 10) for one in self.twins]
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda end: check(end, script, timeout_s=300), ends))

    def run(self) -> Way:
        """Take every twin through the stage `models`, from nothing."""
        self.on_all(f"rm -rf {Path(self.file).parent}")
        argv = [
            sys.executable,
            "-P",
            "-m",
            "boxwright.program",
            "provision",
            *self.words,
            "--stages",
            "models",
            "--json",
        ]
        running = twins(NAME)
        before, taken, own = self._sent(), processor_seconds(running), os.times()
        began = time.monotonic()
        ran = subprocess.run(argv, env=self.environment, cwd=REPO, capture_output=True, text=True, check=False)
        wall, sent, spent = time.monotonic() - began, self._sent() - before, os.times()
        of_twins = processor_seconds(running) - taken
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        if ran.returncode:
            sys.exit(f"provision ended with {ran.returncode}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
        if any(found.split()[0] != self.sha256 for found in self.on_all(f"sha256sum <{self.file}")):
            sys.exit("a box has another file")
        return Way(*_told(lines, wall), sent, _own(own, spent), of_twins, _transfer(lines)["handed_on"])

    def _sent(self) -> int:
        return int(Path(f"/sys/class/net/{self.wire}/statistics/tx_bytes").read_text())


def _own(before: os.times_result, behind: os.times_result) -> float:
    return behind.children_user + behind.children_system - before.children_user - before.children_system


def _transfer(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (line,) = [one for one in lines if one["type"] == "transfer"]
    return line


def _told(lines: Sequence[dict[str, Any]], wall: float) -> tuple[float, float, tuple[float, ...]]:
    transfer = _transfer(lines)
    predicted = transfer["handed_on_seconds"] if transfer["handed_on"] else transfer["predicted_seconds"]
    print(f"  line measured at {transfer['mbit_s']} Mbit/s; handed on: {transfer['handed_on']}")
    for line in lines:
        if line["type"] == "event" and line["message"].startswith(("takes ", "asks ")):
            print(f"    {line['host']} {line['message']}")
    ended = [one for one in lines if one["type"] == "stage" and one["state"] == "changed"]
    return predicted, wall, tuple(one["seconds"] for one in ended)


def main() -> None:
    """Measure both ways, and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--mbit", type=int, default=200)
    wanted = parser.parse_args()
    size = wanted.megabytes * 1_000_000
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory(prefix="bw-") as runtime,
        fresh_lab(NAME) as lab,
    ):
        folder = Path(name)
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text("of the benchmark\n")
        own = {"BOXWRIGHT_STATE": str(folder / "state"), "BOXWRIGHT_RUNTIME": runtime, "PYTHONPATH": str(REPO)}
        environment = os.environ | own | {"BOXWRIGHT_VAULT_PASSWORD_FILE": str(folder / "password")}
        hardware = load_profile("lab").hardware
        booted = lab.up([TwinSpec(f"{NAME}-{number}", "debian-12", hardware) for number in range(1, wanted.hosts + 1)])
        content = os.urandom(size)
        words, file = add_bulk_model(lab, booted, folder, content)
        bench = Bench(words, file, hashlib.sha256(content).hexdigest(), booted, environment)
        del content
        shape = f"tc qdisc replace dev {bench.wire} root tbf rate {wanted.mbit}mbit burst 256kb latency 100ms"
        subprocess.run(shape.split(), check=True)
        handed = bench.run()
        handed.show("handed on", size)
        site = folder / "site.yml"
        site.write_text(site.read_text() + SLOW_BETWEEN)
        alone = bench.run()
        alone.show("each its own", size)
        if not handed.handed or alone.handed:
            sys.exit("the runs did not go the two ways")
        ratio = max(alone.models) / max(handed.models)
        print(f"{wanted.hosts} twins, {wanted.megabytes} MB, {wanted.mbit} Mbit/s: {ratio:.1f} times as fast handed on")


if __name__ == "__main__":
    main()
