"""Tells how a box keeps: its clock, its file systems, its disks, and what its journal holds.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What has a disk beneath it.
ON_DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat"})
# Besides every mount on a disk: where services write, whatever lies there.
WRITTEN_TO = ("/", "/tmp", "/var/tmp", "/var/log", "/var/lib", "/run")  # noqa: S108  looked at, not written to
MOST_ENTRIES = 5000
NVME = Path("/sys/class/nvme")
# linux/nvme_ioctl.h: an administrative command (72 bytes) that the kernel hands to the disk; and of the NVMe
# specification the command that gets a log page, and the page of health: its number, and its length in words less one.
NVME_ADMIN_COMMAND, GET_LOG_PAGE, HEALTH_PAGE, HEALTH_BYTES = 0xC0484E41, 0x02, 0x007F0002, 512


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def mounts() -> list[tuple[str, str, str]]:
    """Mount point, type and options of every mount, the one on top last."""
    rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [(row[1].encode().decode("unicode_escape"), row[2], row[3]) for row in rows]


def place_of(path: str, kind: str, options: str) -> dict[str, Any]:
    """Room, inodes and whether a file system takes writes. Bytes are those that services may use."""
    status = os.statvfs(path)
    return {
        "path": path,
        "type": kind,
        "device": os.stat(path).st_dev,  # noqa: PTH116
        "read_only": "ro" in options.split(","),
        "bytes": status.f_blocks * status.f_frsize,
        "free": status.f_bavail * status.f_frsize,
        "inodes": status.f_files,
        "free_inodes": status.f_favail,
    }


def room(folders: list[str]) -> list[dict[str, Any]]:
    """Every file system on a disk, and those under some folders, each once."""
    found: dict[int, dict[str, Any]] = {}
    table = mounts()
    on_top = {path: (kind, options) for path, kind, options in table}
    # A file that somebody else's disk is mounted over, as in containers, is no file system of this box.
    own = [path for path, kind, _ in table if kind in ON_DISKS and os.path.isdir(path)]  # noqa: PTH112
    for path in [*(one for one in (*WRITTEN_TO, *folders) if os.path.isdir(one)), *own]:  # noqa: PTH112
        if path.startswith(("/run/host/", "/sys/", "/proc/")) or os.stat(path).st_dev in found:  # noqa: PTH116
            continue
        mount = path
        while mount not in on_top:
            mount = os.path.dirname(mount)  # noqa: PTH120
        one = place_of(mount, *on_top[mount])
        found.setdefault(one["device"], one)
    return list(found.values())


def error_counters() -> dict[str, int]:
    """How many errors each file system has counted; ext4 and btrfs keep such a counter."""
    counted = {}
    for path in Path("/sys/fs/ext4").glob("*/errors_count"):
        counted[path.parent.name] = int(path.read_text())
    for path in Path("/sys/fs/btrfs").glob("*/devinfo/*/error_stats"):
        lines = [line.split() for line in path.read_text().splitlines()]
        counted[f"btrfs {path.parents[2].name[:8]}"] = sum(int(line[1]) for line in lines if len(line) == 2)
    return counted


def nvme_log(device: str) -> bytes:
    """The page of health of an NVMe disk."""
    page = ctypes.create_string_buffer(HEALTH_BYTES)
    place = ctypes.addressof(page)
    fields = (GET_LOG_PAGE, 0, 0, 0xFFFFFFFF, 0, 0, 0, place, 0, HEALTH_BYTES, HEALTH_PAGE, *[0] * 7)
    with open(device, "rb") as disk:  # noqa: PTH123
        fcntl.ioctl(disk, NVME_ADMIN_COMMAND, struct.pack("<BBHIIIQQII8I", *fields))
    return page.raw


def nvme_health(page: bytes) -> dict[str, Any]:
    """What a page of health says. A disk that warns of nothing calls itself well."""
    return {
        "passed": page[0] == 0,
        "critical_warning": page[0],
        "media_errors": int.from_bytes(page[160:176], "little"),
        "used_percent": page[5],
        "pending_sectors": 0,
        "uncorrectable_sectors": 0,
    }


def nvme_disks() -> dict[str, Any]:
    """What each NVMe disk says of its own health, by its name: the kernel asks it, and no program is needed."""
    return {f"/dev/{one.name}": nvme_health(nvme_log(f"/dev/{one.name}")) for one in sorted(NVME.glob("nvme*"))}


def smart() -> dict[str, Any] | None:
    """What each disk says of its own health, by its name; None without smartctl where no disk is an NVMe one."""
    if shutil.which("smartctl") is None:
        return nvme_disks() or None
    told = {}
    for one in json.loads(output_of("smartctl", "--scan", "--json")).get("devices", []):
        # Its exit code is a set of bits, and a disk that fails sets some.
        argv = ["smartctl", "--health", "--attributes", "--json", "--device", one["type"], one["name"]]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        report = json.loads(done.stdout or "{}")
        wear = report.get("nvme_smart_health_information_log", {})
        table = report.get("ata_smart_attributes", {}).get("table", [])
        raw = {row["id"]: row["raw"]["value"] for row in table}
        told[one["name"]] = {
            "passed": report.get("smart_status", {}).get("passed"),
            "critical_warning": wear.get("critical_warning", 0),
            "media_errors": wear.get("media_errors", 0),
            "used_percent": wear.get("percentage_used"),
            "pending_sectors": raw.get(197, 0),
            "uncorrectable_sectors": raw.get(198, 0),
        }
    return told


def synchronised(patience_s: float) -> dict[str, Any]:
    """Whether the clock follows a time server, and which services could do that. A start takes some seconds."""
    units = ("systemd-timesyncd", "chrony", "ntpsec", "ntp", "openntpd")
    asked = ["systemctl", "show", "--property=Id,ActiveState", *(f"{unit}.service" for unit in units)]
    blocks = output_of(*asked).split("\n\n")
    states = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    running = [one["Id"].removesuffix(".service") for one in states if one.get("ActiveState") == "active"]
    until = time.monotonic() + (patience_s if running else 0)
    while True:
        told = output_of("timedatectl", "show", "--property=NTPSynchronized", "--value")
        if told == "yes" or time.monotonic() > until:
            return {"synchronised": told == "yes", "running": running}
        time.sleep(1)


def hardware_clock() -> dict[str, float | None]:
    """The clock that runs while the machine is off, beside the system's; None where there is none.

    It is read as universal time, which Debian keeps it in.
    """
    clock = Path("/sys/class/rtc/rtc0/since_epoch")
    return {"hardware": float(clock.read_text()) if clock.exists() else None, "system": time.time()}


def journal(*chosen: str) -> list[dict[str, Any]]:
    """The newest entries since boot that were asked for, oldest first."""
    text = output_of(
        *("journalctl", "--boot", "--quiet", "--no-pager", "--output=json", f"--lines={MOST_ENTRIES}"), *chosen
    )
    entries = []
    for line in text.splitlines():
        entry = json.loads(line)
        message = entry.get("MESSAGE") or ""
        if isinstance(message, list):  # bytes that are no text
            message = bytes(message).decode("utf-8", "replace")
        unit = entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or ""
        who = entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or ""
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        entries.append({"at": at, "unit": unit, "who": who, "message": str(message)})
    return entries


def facts(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each fact as `{"value": …}`, or `{"error": …}` where it cannot be told; one never hides another.

    `data`: the `folders` whose file systems matter, `since` in the words of journalctl, whether the machine is `whole`,
    with a kernel and disks of its own, or has at least its `own_clock`, and the `patience_s` for a clock that has just
    begun to follow a server.
    """
    whole, since = data["whole"], f"--since={data['since']}"
    sources: dict[str, Callable[[], Any]] = {
        "room": lambda: room(data["folders"]),
        "counters": lambda: error_counters() if whole else {},
        "smart": lambda: smart() if whole else None,
        "time": lambda: synchronised(data["patience_s"]) if whole else None,
        "hardware_clock": lambda: hardware_clock() if data["own_clock"] else None,
        "errors": lambda: journal(since, "--priority=err"),
        "kernel": lambda: journal(since, "--dmesg", "--priority=info") if whole else [],
        "boot_entries": lambda: len(journal("--lines=1")),
    }
    told: dict[str, dict[str, Any]] = {}
    for name, tell in sources.items():
        try:
            told[name] = {"value": tell()}
        except subprocess.CalledProcessError as error:
            told[name] = {"error": f"{' '.join(error.cmd)}: {error.stderr.strip()}"}
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            told[name] = {"error": str(error)}
    return told


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
