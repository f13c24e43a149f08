"""Tells how a box's operating system is set, as it runs now: one program, not a command a setting.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def sysctl(name: str) -> str | None:
    """The running value of a kernel setting; None where this kernel does not have it."""
    path = Path("/proc/sys", *name.split("."))
    return " ".join(path.read_text().split()) if path.exists() else None


def apt_settings(prefixes: tuple[str, ...]) -> dict[str, list[str]]:
    """apt's settings under some names; a list setting has several values."""
    settings: dict[str, list[str]] = {}
    for line in output_of("apt-config", "dump").splitlines():
        name, _, value = line.partition(" ")
        if name.startswith(prefixes) and value != '"";':
            settings.setdefault(name.removesuffix("::"), []).append(value.strip('";'))
    return settings


def journal_limit() -> str:
    """The last `SystemMaxUse=` that journald reads from its file and its drop-ins."""
    lines = output_of("systemd-analyze", "cat-config", "systemd/journald.conf").splitlines()
    values = [line.partition("=")[2].strip() for line in lines if line.startswith("SystemMaxUse=")]
    return values[-1] if values else ""


def names() -> dict[str, str]:
    """What the machine is called now and at its next boot, and the address that it finds itself at; empty: nowhere."""
    running, static = os.uname().nodename, Path("/etc/hostname")
    return {
        "running": running,
        "static": static.read_text().strip() if static.exists() else "",
        "address": address_of(running),
    }


def address_of(name: str) -> str:
    """Where a name leads, by whatever this machine asks; empty where nothing answers in time."""
    with suppress(subprocess.TimeoutExpired):
        found = subprocess.run(["getent", "hosts", name], capture_output=True, text=True, check=False, timeout=15)
        return next(iter(found.stdout.split()), "")
    return ""


def transparent_huge_pages() -> str | None:
    """The running choice; None where this kernel has none."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return path.read_text().strip() if path.exists() else None


def facts(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each fact as `{"value": …}`, or `{"error": …}` where it cannot be told; one never hides another.

    `data` holds the `sysctls` to read.
    """
    sources: dict[str, Callable[[], Any]] = {
        "sysctls": lambda: {name: sysctl(name) for name in data["sysctls"]},
        "transparent_hugepage": transparent_huge_pages,
        "nofile_limit": lambda: output_of("systemctl", "show", "--property=DefaultLimitNOFILE", "--value"),
        "timezone": lambda: str(Path("/etc/localtime").readlink()).partition("/zoneinfo/")[2],
        "names": names,
        "journal_limit": journal_limit,
        "apt": lambda: apt_settings(("APT::Periodic::", "Unattended-Upgrade::")),
        "nft": lambda: json.loads(output_of("nft", "--json", "list", "table", "inet", "boxwright")),
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
