"""AMD's packages of kernel module and ROCm, SIMULATED: their names, versions and relations, and nothing in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.lab.vendors.repository import Package

_COMPONENTS = {"rocm-core": "", "rocminfo": "1.0.0", "rocm-smi-lib": "7.8.0", "amd-smi-lib": "26.2.1"}


def amdgpu_packages(versions: Iterable[str]) -> Iterator[Package]:
    """The kernel module and its firmware of these versions, `6.16.13.30300400-2341068.24.04`."""
    for version in versions:
        yield Package("amdgpu-dkms-firmware", f"1:{version}", architecture="all")
        firmware = f"amdgpu-dkms-firmware (= 1:{version})"
        yield Package("amdgpu-dkms", f"1:{version}", {"Depends": firmware}, architecture="all")


def rocm_packages(releases: Iterable[str]) -> Iterator[Package]:
    """Runtime and tools of these releases, `7.2.4`, for Ubuntu 24.04 as AMD builds them.

    As in AMD's repository every component has a version of its own, lower than the distribution's package of the same
    name may have, and the release in it.
    """
    for release in releases:
        major, minor, patch = release.split(".")
        build = f"{int(major)}{int(minor):02}{int(patch):02}-93~24.04"
        for name, version in _COMPONENTS.items():
            yield Package(name, f"{version or release}.{build}")
        needed = [f"{name} (= {_COMPONENTS[name] or release}.{build})" for name in ("rocm-core", "rocminfo")]
        yield Package("rocm-hip-runtime", f"{release}.{build}", {"Depends": ", ".join(needed)})
