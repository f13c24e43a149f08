"""Whether file systems have room, and whether disks say that they fail. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of a file system that is somebody else's, as a twin's is the controller's: less, and services fail.
_LEAST_FREE_BYTES = 256 << 20
_LEAST_FREE_INODES_PERCENT = 5
# What a disk counts when it loses data; of each, none is right.
_LOSSES = ("critical_warning", "media_errors", "pending_sectors", "uncorrectable_sectors")


def free_percent(place: Mapping[str, Any]) -> float:
    """How much of a file system services may still use, in percent."""
    return 100 * float(place["free"]) / max(float(place["bytes"]), 1.0)


def trouble(place: Mapping[str, Any], least_percent: int, *, borrowed: bool) -> str:
    """What is wrong with a file system; empty when nothing is.

    Args:
        place: As `remote.upkeep_facts` told of it.
        least_percent: How much of it must be free.
        borrowed: Whether it is another machine's, so that its size says nothing.
    """
    path = place["path"]
    if place["read_only"]:
        return f"{path} is read-only"
    if place["inodes"] and 100 * place["free_inodes"] < _LEAST_FREE_INODES_PERCENT * place["inodes"]:
        return f"{path} has {place['free_inodes']} inodes left"
    least = min(_LEAST_FREE_BYTES, place["bytes"]) if borrowed else place["bytes"] * least_percent / 100
    if place["free"] < least:
        return f"{path} has {place['free'] / 1e6:.0f} MB left, {free_percent(place):.0f} % of it"
    return ""


def breaches(counters: Mapping[str, int], disks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What file systems have counted and disks say of themselves that is not as it should be."""
    wrong = [f"{name} has counted {count} errors" for name, count in counters.items() if count]
    for name, told in disks.items():
        bad = [f"{loss.replace('_', ' ')} {told[loss]}" for loss in _LOSSES if told[loss]]
        bad += ["says that it fails"] if told["passed"] is False else []
        wrong += [f"{name}: {', '.join(bad)}"] if bad else []
    return wrong


def telling(disks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The disks that tell of their health at all; virtual ones and some controllers' do not."""
    return [name for name, told in disks.items() if told["passed"] is not None]
