"""Tells which programs that serve models run on a box, or would at its next boot, and which unit each belongs to.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def program_of(process: Path, names: frozenset[str]) -> str:
    """The name of the serving program that a process is, by its file or by the script or module that it runs."""
    words = (process / "cmdline").read_bytes().split(b"\0")
    said = [os.path.basename(word.decode("utf-8", "replace")) for word in words[:4]]  # noqa: PTH119
    for word in said:
        for name in (word, word.partition(".")[0]):
            if name in names:
                return name
    return ""


def place_of(process: Path) -> tuple[str, str]:
    """The unit of systemd and the id of the container that a process belongs to; empty where it has none."""
    path = (process / "cgroup").read_text().splitlines()[-1].rpartition(":")[2]
    units = re.findall(r"([^/]+)\.(?:service|scope)(?=/|$)", path)
    container = re.search(r"(?:docker[-/]|/)([0-9a-f]{64})", path)
    return (units[-1] if units else ""), (container[1] if container else "")


def facts(data: dict[str, Any]) -> dict[str, Any]:
    """The processes, and the units that start at boot. `data`: `names` of programs that serve models."""
    names = frozenset(data["names"])
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = program_of(process, names)
            if name:
                unit, container = place_of(process)
                found.append({"name": name, "pid": int(process.name), "unit": unit, "container": container})
        except OSError:
            continue  # a process that ended meanwhile
    # What systemctl says of it takes it half a second; it is these links that make a unit start.
    links = Path("/etc/systemd/system").glob("*.wants/*.service")
    enabled = sorted({link.name.removesuffix(".service") for link in links})
    ours: list[str] = []
    if any(one["container"] for one in found) and shutil.which("docker") is not None:
        asked = ("--no-trunc", "--filter", "label=io.boxwright.engine", "--format", "{{.ID}}")
        ours = output_of("docker", "ps", *asked).splitlines()
    return {"processes": found, "enabled": [name for name in enabled if name in names], "ours": ours}


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
