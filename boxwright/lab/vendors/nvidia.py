"""NVIDIA's driver packages, SIMULATED: their names, versions and relations, and nothing in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.lab.vendors.repository import Package


def nvidia_packages(versions: Iterable[str]) -> Iterator[Package]:
    """The headless driver of these versions: kernel modules of both flavours, its libraries and services."""
    for version in versions:
        same = f"(= {version})"
        yield Package("libcuda1", version)
        yield Package("libnvidia-ml1", version)
        yield Package("nvidia-persistenced", version, unit="nvidia-persistenced")
        yield Package("nvidia-kernel-open-dkms", version, {"Conflicts": "nvidia-kernel-dkms"})
        yield Package("nvidia-kernel-dkms", version, {"Conflicts": "nvidia-kernel-open-dkms"})
        depends = f"libcuda1 {same}, libnvidia-ml1 {same}, nvidia-persistenced {same}"
        modules = f"nvidia-kernel-open-dkms {same} | nvidia-kernel-dkms {same}"
        yield Package("nvidia-driver-cuda", version, {"Depends": f"{depends}, {modules}"})
        yield Package("nvidia-fabricmanager", version, {"Depends": f"libcuda1 {same}"}, unit="nvidia-fabricmanager")
