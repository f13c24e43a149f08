"""Runs on the box, sent there as source: tells what a trial would find there. Changes nothing.

Arguments are paths; which of them are there is told. Standard library only, for whatever Python 3 the box has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SITE = "/etc/nginx/conf.d/boxwright.conf"
UNIT = "boxwright-try.service"


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _query(*what: str) -> list[list[str]] | None:
    told = _said("nvidia-smi", *what, "--format=csv,noheader,nounits")
    return None if told is None else [line.split(", ") for line in told.splitlines() if line.strip()]


def cards() -> list[dict[str, Any]] | None:
    """Each NVIDIA card, with its memory in bytes and the processes that compute on it; None where none can be asked."""
    rows = _query("--query-gpu=index,uuid,name,memory.total,memory.used")
    if rows is None:
        return None
    users = _query("--query-compute-apps=gpu_uuid,pid,process_name") or []
    return [
        {
            "number": int(number),
            "name": name,
            "bytes": int(total) << 20,
            "used_bytes": int(used) << 20,
            "users": [f"{Path(program).name} ({pid})" for card, pid, program in users if card == uuid],
        }
        for number, uuid, name, total, used in rows
    ]


def main(paths: list[str]) -> dict[str, Any]:
    """What there is."""
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    try:
        site = Path(SITE).read_text()
    except OSError:
        site = ""
    opt = Path("/opt")
    return {
        "available_bytes": int(memory["MemAvailable"].split()[0]) * 1024,
        "processors": len(os.sched_getaffinity(0)),
        "free_bytes": shutil.disk_usage(opt if opt.is_dir() else "/").free,
        "cards": cards(),
        "there": [path for path in paths if Path(path).exists()],
        "tried_now": _said("systemctl", "is-active", UNIT) is not None,
        "gateway": "/run/boxwright/gateway/" in site and _said("systemctl", "is-active", "nginx.service") is not None,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))  # noqa: T201 - a program of its own on the box
