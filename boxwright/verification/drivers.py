"""Which packages a machine has for its NVIDIA driver: Debian's names, or Ubuntu's, which hold branch and flavour."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from boxwright.model.drivers import NvidiaDriverPolicy

PATTERNS = (
    "nvidia-driver-cuda",
    "nvidia-kernel-*",
    "libcuda1",
    "libnvidia-ml1",
    "nvidia-persistenced",
    "nvidia-fabricmanager*",
    "nvidia-headless-no-dkms-*",
    "nvidia-utils-*-server",
    "nvidia-compute-utils-*-server",
    "libnvidia-compute-*",
    "nvidia-dkms-*",
    "linux-modules-nvidia-*",
)


def of_driver(packages: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The driver's packages by name, among others that were looked at."""
    return {one["name"]: one for one in packages if any(fnmatchcase(one["name"], pattern) for pattern in PATTERNS)}


def missing(policy: NvidiaDriverPolicy, found: Collection[str]) -> list[str]:
    """What the policy asks for and is not among the installed packages, by name."""
    series = f"{policy.branch}-server" + ("-open" if policy.flavour == "open" else "")
    libraries = f"nvidia-headless-no-dkms-{series}"
    if policy.packaging == "precompiled" or libraries in found:
        wanted = [libraries, f"nvidia-utils-{policy.branch}-server"]
        wanted += [f"nvidia-dkms-{series}"] if policy.packaging == "dkms" else []
        manager = f"nvidia-fabricmanager-{policy.branch}"
    else:
        wanted = ["nvidia-kernel-open-dkms" if policy.flavour == "open" else "nvidia-kernel-dkms", "nvidia-driver-cuda"]
        manager = "nvidia-fabricmanager"
    lacking = [name for name in (*wanted, *([manager] if policy.fabric_manager else [])) if name not in found]
    modules = f"linux-modules-nvidia-{series}-"
    built = {name.removeprefix(modules) for name in found if name.startswith(modules)}
    if policy.packaging == "precompiled" and all(kernel.startswith("open-") for kernel in built):
        lacking.append(f"{modules}KERNEL")
    return lacking


def releases(packages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The driver's releases among installed packages. Modules that came built have the version of their kernel."""
    return sorted({one["version"].rpartition("-")[0] for one in packages if not one["name"].startswith("linux-")})


def loose(packages: Iterable[Mapping[str, Any]]) -> list[str]:
    """What an upgrade could change. The module of one kernel is not held, or that kernel could not be removed."""
    of_one_kernel = re.compile(r"linux-modules-.*-\d+\.\d+\.\d+-\d+-")
    return [one["name"] for one in packages if not one["held"] and not of_one_kernel.match(one["name"])]
