"""Tells where the memory of what serves lies and where its threads may run, and what it was told of NUMA nodes.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROC = Path("/proc")
NODES = Path("/sys/devices/system/node")
GENERATIONS = 8  # of children that are looked at


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def unit_of(name: str) -> dict[str, str]:
    """systemd's own settings of a unit, and its first process."""
    lines = output_of("systemctl", "show", "--property=MainPID,NUMAPolicy,NUMAMask", name).splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def container_of(name: str) -> dict[str, str]:
    """Docker's settings of a container, and its first process. The unit's own process is Docker's client alone."""
    pid, _, nodes = output_of(
        "docker", "inspect", "--format", "{{.State.Pid}} {{.HostConfig.CpusetMems}}", name
    ).partition(" ")
    if pid == "0":
        raise ValueError(f"the container {name} does not run")
    return {"pid": pid, "nodes": nodes.strip()}


def largest(first: str) -> Path:
    """The largest process among one and its children: what holds the model may be a child."""
    parents, sizes, family = {}, {}, {first}
    for one in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (one / "stat").read_text().rpartition(")")[2].split()
            parents[one.name], sizes[one.name] = fields[1], int(fields[21])
    for _ in range(GENERATIONS):
        family |= {child for child, parent in parents.items() if parent in family}
    return PROC / max(family & set(sizes), key=lambda pid: sizes[pid])


def facts(data: dict[str, Any]) -> dict[str, Any]:
    """Of the `unit`, or of the `container` where one is named. `maps` is None where the kernel knows no NUMA."""
    unit = unit_of(data["unit"])
    container = container_of(data["container"]) if data["container"] else None
    process = largest(container["pid"] if container else unit["MainPID"])
    status = dict(line.partition(":")[::2] for line in (process / "status").read_text().splitlines())
    maps = process / "numa_maps"
    return {
        "unit": unit,
        "container": container,
        "maps": maps.read_text() if maps.exists() else None,
        "allowed": status["Cpus_allowed_list"],
        "nodes": {node.name[4:]: (node / "cpulist").read_text() for node in NODES.glob("node[0-9]*")},
    }


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
