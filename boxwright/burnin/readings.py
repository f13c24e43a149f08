"""Sensors and counters of a machine. Runs on the box, sent there as source beside `on_box`.

Standard library only, for whatever Python 3 the box has.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any


def read(path: Path) -> str:
    """A small file of the kernel's; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except (OSError, ValueError):
        return ""


def number(path: Path) -> int | None:
    """The number in a file of the kernel's; None where there is none."""
    text = read(path)
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def plain(text: str) -> str:
    """A name of lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "sensor"


def contained() -> bool:
    """Whether this is a container: sensors and counters of the kernel are then its host's."""
    if shutil.which("systemd-detect-virt") is None:
        return False
    told = subprocess.run(["systemd-detect-virt", "--container"], capture_output=True, text=True, check=False)
    return told.stdout.strip() not in ("", "none")


# Sensors: degrees, by name; those of one kind on one chip are one, the hottest.


def sensors(root: Path = Path("/sys/class")) -> dict[str, tuple[list[Path], float | None]]:
    """The files of each sensor, and the degrees that its maker calls critical."""
    found: dict[str, tuple[list[Path], float | None]] = {}
    for file in sorted(root.glob("hwmon/hwmon*/temp*_input")):
        stem = file.name.removesuffix("_input")
        label = re.sub(r"[\s\d]+$", "", read(file.with_name(f"{stem}_label")))
        chip = re.sub(r"\D", "", file.parent.name)
        name = plain(f"{read(file.parent / 'name')}{chip} {label}")
        _note(found, name, file, number(file.with_name(f"{stem}_crit")))
    for zone in sorted(root.glob("thermal/thermal_zone*")):
        if found and read(zone / "type") in ("x86_pkg_temp", "acpitz"):
            continue  # hwmon tells the same
        kinds = {trip.name.split("_")[2]: read(trip) for trip in zone.glob("trip_point_*_type")}
        crit = next(
            (number(zone / f"trip_point_{which}_temp") for which, kind in kinds.items() if kind == "critical"), None
        )
        _note(found, plain(f"{read(zone / 'type')} {zone.name.removeprefix('thermal_')}"), zone / "temp", crit)
    return found


def _note(found: dict[str, tuple[list[Path], float | None]], name: str, file: Path, crit: int | None) -> None:
    if number(file) is None:
        return
    files, least = found.setdefault(name, ([], None))
    files.append(file)
    # Some chips say 65261 °C, or none below zero, where nobody set anything.
    if crit is not None and 40_000 <= crit <= 150_000:
        least = crit / 1000 if least is None else min(least, crit / 1000)
    found[name] = (files, least)


def hottest(files: list[Path]) -> float | None:
    """Degrees of the hottest of several sensors."""
    values = [value for file in files if (value := number(file)) is not None]
    return max(values) / 1000 if values else None


# Counters of what went wrong, since the machine booted.


def counters(order: dict[str, Any]) -> dict[str, int]:
    """Every counter that there is, by name."""
    found = network_errors()
    if contained():
        return found
    found |= machine_checks() | edac() | pcie() | throttled()
    if order.get("smartctl"):
        for disk in sorted(Path("/sys/block").glob("*/device")):
            found |= smart(order["smartctl"], disk.parent.name)
    return found


def network_errors(root: Path = Path("/sys/class/net")) -> dict[str, int]:
    """Frames that came or went damaged, of each interface that is up and leads out of the machine."""
    found = {}
    for nic in sorted(root.iterdir()) if root.is_dir() else []:
        if nic.name.startswith(("lo", "docker", "br-", "veth")) or read(nic / "operstate") != "up":
            continue
        parts = [number(nic / "statistics" / f"{way}_errors") for way in ("rx", "tx")]
        found[f"network.{plain(nic.name)}"] = sum(part or 0 for part in parts)
    return found


def machine_checks(file: Path = Path("/proc/interrupts")) -> dict[str, int]:
    """Machine check exceptions of all processors."""
    rows = [line.split() for line in read(file).splitlines() if line.strip().startswith("MCE:")]
    return {"machine_checks": sum(int(cell) for row in rows for cell in row[1:] if cell.isdigit())} if rows else {}


def edac(root: Path = Path("/sys/devices/system/edac/mc")) -> dict[str, int]:
    """Errors of the memory that its controllers corrected, and could not correct."""
    found = {}
    for name, file in (("memory_corrected", "ce_count"), ("memory_uncorrected", "ue_count")):
        values = [value for mc in root.glob("mc*") if (value := number(mc / file)) is not None]
        if values:
            found[name] = sum(values)
    return found


def pcie(root: Path = Path("/sys/bus/pci/devices")) -> dict[str, int]:
    """Errors that PCIe devices reported (AER), of all devices together."""
    found: dict[str, int] = {}
    for name in ("correctable", "nonfatal", "fatal"):
        for file in root.glob(f"*/aer_dev_{name}"):
            total = re.search(r"^TOTAL_ERR\w+ (\d+)$", read(file), re.MULTILINE)
            if total:
                found[f"pcie_{name}"] = found.get(f"pcie_{name}", 0) + int(total[1])
    return found


def throttled(root: Path = Path("/sys/devices/system/cpu")) -> dict[str, int]:
    """How often processors slowed down because they were too hot."""
    files = list(root.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    values = [value for file in files if (value := number(file)) is not None]
    return {"throttled": sum(values)} if values else {}


def smart(program: str, disk: str) -> dict[str, int]:
    """What a disk says of itself: damaged places, and whether it expects to fail."""
    try:
        told = subprocess.run(
            [program, "--json=c", "--all", f"/dev/{disk}"], capture_output=True, text=True, check=False, timeout=30
        )
        data = json.loads(told.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    found = {}
    passed = data.get("smart_status", {}).get("passed")
    if passed is not None:
        found[f"disk.{plain(disk)}_failing"] = int(not passed)
    health = data.get("nvme_smart_health_information_log", {})
    if "media_errors" in health:
        found[f"disk.{plain(disk)}_damaged"] = int(health["media_errors"])
    rows = data.get("ata_smart_attributes", {}).get("table", [])
    damaged = [row["raw"]["value"] for row in rows if row.get("id") in (5, 197, 198)]
    if damaged:
        found[f"disk.{plain(disk)}_damaged"] = sum(damaged)
    return found


def kernel_log(order: dict[str, Any]) -> dict[str, Any]:
    """Lines of the kernel's log since a moment that tell of broken hardware; `lines` is None where there is no log."""
    command = ["journalctl", "--dmesg", "--quiet", "--no-pager", "--output=cat", f"--since=@{order['since']:.0f}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {"lines": None}
    if contained() or told.returncode:
        return {"lines": None}
    pattern = re.compile(order["pattern"])
    return {"lines": [line for line in told.stdout.splitlines() if pattern.search(line)]}
