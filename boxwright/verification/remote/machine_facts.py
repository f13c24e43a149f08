"""Tells how disks, drivers, containers and the fabric of a box are set, as they are now.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def packages(patterns: list[str]) -> list[dict[str, Any]]:
    """The installed packages whose names match; `simulated` says so of a twin's."""
    form = "${db:Status-Status}\\t${db:Status-Want}\\t${Package}\\t${Version}\\t${binary:Summary}\\n"
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", form, *patterns], capture_output=True, text=True, check=False, timeout=30
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [
        {"name": name, "version": version, "held": want == "hold", "simulated": "SIMULATED" in summary}
        for status, want, name, version, summary in rows
        if status == "installed"
    ]


def pins_of(path: str) -> int | None:
    """How many packages a file of apt's preferences pins; None where there is no such file."""
    place = Path(path)
    if not place.exists():
        return None
    return sum(line.startswith("Pin-Priority:") for line in place.read_text().splitlines())


def device_of(path: str) -> int:
    """The device of the file system that a folder lies on, or would lie on."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    return place.stat().st_dev


def docker() -> dict[str, Any]:
    """What the running Docker says of itself."""
    found: dict[str, Any] = json.loads(output_of("docker", "info", "--format", "{{json .}}"))
    return {name: found.get(name) for name in ("ServerVersion", "DockerRootDir", "CgroupDriver", "LoggingDriver")}


def fabric() -> dict[str, str]:
    """The settings for engines that span nodes, and the addresses of the interface that they name."""
    lines = Path("/etc/boxwright/fabric.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    # NCCL's "=" before a name says that it is meant exactly.
    named = settings["NCCL_SOCKET_IFNAME"] = settings.get("NCCL_SOCKET_IFNAME", "").lstrip("=")
    found = json.loads(output_of("ip", "-json", "address", "show", "dev", named)) if named else []
    settings["addresses"] = " ".join(one["local"] for each in found for one in each.get("addr_info", []))
    return settings


def facts(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each fact as `{"value": …}`, or `{"error": …}` where it cannot be told; one never hides another.

    `data` holds the `packages` to look for, by patterns, the `folders` whose devices are asked for, and the files of
    apt's `preferences`.
    """
    sources: dict[str, Callable[[], Any]] = {
        "packages": lambda: packages(data["packages"]),
        "preferences": lambda: {name: pins_of(name) for name in data["preferences"]},
        "devices": lambda: {folder: device_of(folder) for folder in ("/", *data["folders"])},
        "arguments": lambda: Path("/proc/cmdline").read_text().split(),
        "memlock": lambda: output_of("systemctl", "show", "--property=DefaultLimitMEMLOCK", "--value"),
        "docker": docker,
        "published": lambda: json.loads(output_of("nft", "--json", "list", "table", "inet", "boxwright_containers")),
        "fabric": fabric,
        "driver_module": lambda: Path("/sys/module/nvidia/version").read_text().strip(),
        "reboot_due": lambda: [path.read_text().strip() for path in Path("/run/boxwright/reboot-due").glob("*")],
    }
    told: dict[str, dict[str, Any]] = {}
    for name, tell in sources.items():
        try:
            told[name] = {"value": tell()}
        except subprocess.CalledProcessError as error:
            told[name] = {"error": f"{' '.join(error.cmd)}: {error.stderr.strip()}"}
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            told[name] = {"error": str(error)}
    return told


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
