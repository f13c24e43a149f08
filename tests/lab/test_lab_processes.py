"""The lab's own processes where systemd is PID 1, as on most machines: tried on a twin, whose PID 1 it is."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from fresh_lab import fresh_lab

from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.places import ROOT
from boxwright.transport.ssh import Endpoint, check

pytestmark = pytest.mark.lab

# What `Processes` needs of the package; it is all of the standard library.
PARTS = ("errors.py", "lab/processes.py", "lab/cgroups.py", "lab/commands.py")
SCRIPT = """
import os, pathlib, subprocess, time
from boxwright.lab.processes import ServiceProcesses, for_lab

processes = for_lab("trial")
assert isinstance(processes, ServiceProcesses), processes
log = pathlib.Path("/root/trial.log")
deaf = "trap '' TERM; (trap '' TERM; sleep 300.5) & (setsid sleep 300.5 &) ; echo $MARK; wait"
processes.start("deaf", ["sh", "-c", deaf], log=log, environment={"PATH": os.environ["PATH"], "MARK": "it runs"})
deadline = time.monotonic() + 10
while len(processes.pids("deaf")) < 3 and time.monotonic() < deadline:
    time.sleep(0.1)
print("running", len(processes.pids("deaf")) >= 3)
group = subprocess.run(["systemctl", "show", "-P", "Delegate", processes.unit("deaf")], capture_output=True, text=True)
print("delegated", group.stdout.strip())
processes.stop("deaf")
print("left", len(processes.pids("deaf")))
print("sleeping", subprocess.run(["pgrep", "-fxc", "sleep 300.5"], capture_output=True, text=True).stdout.strip())
print("log", log.read_text().strip())
processes.stop("deaf")
processes.remove()
units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "boxwright.trial.*"]
print("units", repr(subprocess.run(units, capture_output=True, text=True).stdout.strip()))
"""


def test_a_service_holds_all_that_it_starts_and_leaves_nothing(tmp_path: Path) -> None:
    with fresh_lab("test-processes") as lab:
        (twin,) = lab.up([TwinSpec("processes-1", "debian-13", load_profile("lab").hardware)])
        box = Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10)
        packed = subprocess.run(
            ["tar", "-C", ROOT / "boxwright", "-cz", *PARTS], capture_output=True, check=True
        ).stdout
        unpack = "mkdir -p /root/try/boxwright && tar -C /root/try/boxwright -xz"
        subprocess.run([*box.command(unpack)], input=packed, check=True, timeout=60)
        told = check(box, f"cd /root/try && python3 -c {shlex.quote(SCRIPT)}", timeout_s=90)
    assert told.splitlines() == [
        "running True",
        "delegated yes",
        "left 0",
        "sleeping 0",
        "log it runs",
        "units ''",
    ]
