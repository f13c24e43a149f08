"""Where an engine's memory lies, on a machine with two NUMA nodes: a VM, whose kernel really has them.

Its units, their policies, the page cache and serve-unit are real. What they run is SIMULATED, by a program that has its
memory where a test wants it: an engine would take an emulated VM too long.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fresh_lab import fresh_lab

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.residency import MemoryPlacement
from deploys.operations.files import TEMPLATES

# A VM, which is emulated where KVM does not run it: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

HARDWARE = Hardware(cpu=Cpu(sockets=2, cores_per_socket=1), numa_nodes=2, memory_gib=2, disk_gib=4)
PROGRAMS = "/usr/local/lib/boxwright"
ENGINE = "/usr/local/lib/simulated_placement.py"
WEIGHTS, MIB = "/srv/weights", 96
UNIT, UNIT_FILE = "engine.service", "/etc/systemd/system/engine.service"
SERVES_AGAIN = "serve-unit: engine.service serves the first again, with the files that it had."


class Box:
    """A machine with two nodes, and an engine on it."""

    def __init__(self, twin: RunningTwin) -> None:
        self.twin = twin

    def run(self, command: str, stdin: bytes = b"", timeout: float = 300) -> subprocess.CompletedProcess[bytes]:
        twin = self.twin
        ssh = ["ssh", "-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}"]
        ssh += ["-o", "StrictHostKeyChecking=yes", "-p", str(twin.port), f"{twin.user}@{twin.address}", command]
        return subprocess.run(ssh, input=stdin, capture_output=True, check=False, timeout=timeout)

    def on(self, command: str, stdin: str = "") -> str:
        done = self.run(command, stdin.encode())
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def serve(self, serves: str, asked: MemoryPlacement, *words: str, policy: str = "") -> tuple[int, str]:
        """What a deploy of an engine does: write the unit, and let serve-unit have it serve; what that told."""
        command = " ".join([f"/usr/bin/python3 {ENGINE} 8000", *words])
        unit = f"[Service]\nExecStart={command}\n{policy}\n[Install]\nWantedBy=multi-user.target\n"
        self.on(f"cat > {UNIT_FILE}", unit)
        request: dict[str, Any] = {"unit": UNIT, "serves": serves, "url": "http://127.0.0.1:8000/health"}
        request |= {"question": None, "written": [UNIT_FILE], "patience_s": 120}
        request |= {"placement": asked.model_dump(mode="json")}
        done = self.run(f"python3 -I -B {PROGRAMS}/serve-unit.d --restart 2>&1", json.dumps(request).encode())
        return done.returncode, done.stdout.decode()

    def cached_on(self, node: int) -> None:
        """Have the weights in the page cache of one node, as whoever fetched and verified them there leaves them."""
        self.on(f"systemctl stop {UNIT} 2>/dev/null; dd if={WEIGHTS} iflag=nocache count=0 status=none")
        self.on(f"numactl --membind={node} --cpunodebind={node} cat {WEIGHTS} > /dev/null")


def asked(**changes: Any) -> MemoryPlacement:
    told = {"unit": UNIT, "container": None, "policy": "default", "nodes": ()}
    return MemoryPlacement.model_validate(told | changes)


BOUND = asked(policy="bind", nodes=(1,), maps_weights=True)
BIND = "NUMAPolicy=bind\nNUMAMask=1\nCPUAffinity=numa"


def programs() -> bytes:
    """The programs that a deploy puts on a box, packed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(TEMPLATES / "engine_unit/serve_unit", f"{PROGRAMS}/serve-unit.d", filter=_bare)
        tar.add(TEMPLATES / "engine_unit/memory_placement.py", f"{PROGRAMS}/memory-placement")
        tar.add(Path(__file__).with_name("simulated_placement.py"), ENGINE)
    return packed.getvalue()


def _bare(one: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in one.name else one


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with fresh_lab("test-numa") as lab:
        lab.up([TwinSpec("n12", "debian-12", HARDWARE, kind="vm")])
        made = Box(lab.twin("n12"))
        done = made.run("tar --extract --directory=/", programs())
        assert done.returncode == 0, done.stderr
        made.on(f"head -c {MIB << 20} /dev/urandom > {WEIGHTS}; sync {WEIGHTS}")
        yield made


def test_the_machine_has_two_nodes(box: Box) -> None:
    shown = box.on("numactl -H")
    assert "available: 2 nodes (0-1)" in shown
    assert "node 1 cpus: 1" in shown


def test_what_is_bound_to_a_node_lies_there_or_gives_way(box: Box) -> None:
    box.cached_on(1)
    code, told = box.serve("the first", BOUND, WEIGHTS, "60", policy=BIND)
    assert code == 0, told
    lies = re.match(r"engine.service: bind on 1: (?:\d MiB on node 0, )?(\d+) MiB on node 1; processors 1\n", told)
    assert lies, told
    assert MIB + 60 <= int(lies[1]) < MIB + 90
    before = box.on(f"cat {UNIT_FILE}")

    # The policy is in force, and what was read on another node before stays there.
    box.cached_on(0)
    code, told = box.serve("the second", BOUND, WEIGHTS, "61", policy=BIND)
    assert code == 1, told
    assert re.search(r"engine.service: (9[5-9]|1[01]\d) MiB on node 0, and the policy is bind on 1\n", told), told
    # What was put back has the same weights in the same place: no start would be right before they are read anew.
    assert "engine.service with the first was put back, and does not serve either." in told
    assert box.on(f"cat {UNIT_FILE}") == before

    anew = f"{BIND}\nExecStartPre=dd if={WEIGHTS} iflag=nocache count=0 status=none"
    assert box.serve("the first", BOUND, WEIGHTS, "60", policy=anew)[0] == 0
    box.cached_on(0)
    code, told = box.serve("the second", BOUND, WEIGHTS, "61", policy=BIND)
    assert code == 1, told
    assert told.endswith(f"{SERVES_AGAIN}\n")
    assert "iflag=nocache" in box.on(f"cat {UNIT_FILE}")


def test_what_the_engine_spreads_by_itself_lies_on_both_or_gives_way(box: Box) -> None:
    spread = asked(spread=(0, 1))
    code, told = box.serve("the first", spread, "-", "200", "0", "1")
    assert code == 0, told
    assert re.match(r"engine.service: spread over nodes 0, 1: 1\d\d MiB on node 0, 1\d\d MiB on node 1; ", told), told
    code, told = box.serve("the second", spread, "-", "200", "0", "0")
    assert code == 1, told
    assert re.search(r"engine.service: 2\d\d MiB on node 0.*, and the engine is told to spread it over 0, 1\n", told)
    assert told.endswith(f"{SERVES_AGAIN}\n")


def test_memory_that_is_interleaved_on_purpose_is_right(box: Box) -> None:
    both = asked(policy="interleave", nodes=(0, 1))
    code, told = box.serve("the first", both, "-", "200", policy="NUMAPolicy=interleave\nNUMAMask=0-1")
    assert code == 0, told
    assert re.match(r"engine.service: interleave on 0, 1: 1\d\d MiB on node 0, 1\d\d MiB on node 1; ", told), told
    # An engine that is said to deal out by itself, by somebody's hand: it lies on both, which is what counts.
    code, told = box.serve("the second", asked(spread=(0, 1)), "-", "200", policy="NUMAPolicy=interleave\nNUMAMask=0-1")
    assert code == 1
    assert "the unit's NUMAPolicy is interleave, not default" in told


def test_an_engine_that_keeps_to_processors_lies_beside_them_or_gives_way(box: Box) -> None:
    assert box.serve("the first", asked(processors=("1",)), "-", "200", "1")[0] == 0
    code, told = box.serve("the second", asked(processors=("1",)), "-", "200", "0", "1")
    assert code == 1, told
    assert "and the engine is told to keep to processors 1, which are of node 1" in told
    assert told.endswith(f"{SERVES_AGAIN}\n")
    code, told = box.serve("the second", asked(on_one=True), "-", "200", "0", "1")
    assert code == 1, told
    assert "and the engine is told to keep to one node" in told
    assert box.serve("the second", asked(on_one=True), "-", "200", "0", "0")[0] == 0


def test_nodes_that_the_machine_lacks_are_said_to_and_end_nothing(box: Box) -> None:
    code, told = box.serve("the third", asked(spread=(0, 1, 2, 3)), "-", "20", "0")
    assert code == 0, told
    assert told == "engine.service: NUMA nodes 0-3 are wanted, and this machine has 0-1 alone\n"
