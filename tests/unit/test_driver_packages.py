"""Which packages verification asks a machine for, by Debian's names and by Ubuntu's."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.drivers import NvidiaDriverPolicy
from boxwright.verification.drivers import loose, missing, releases

DEBIAN = {"nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-fabricmanager", "libcuda1"}
UBUNTU = {"nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"}
BUILT = {*UBUNTU, "linux-modules-nvidia-580-server-open-6.8.0-87-generic"}


@pytest.mark.parametrize(
    ("policy", "found", "lacking"),
    [
        ({"fabric_manager": True}, DEBIAN, []),
        ({"flavour": "closed"}, DEBIAN, ["nvidia-kernel-dkms"]),
        ({}, set(), ["nvidia-kernel-open-dkms", "nvidia-driver-cuda"]),
        ({"fabric_manager": True}, DEBIAN - {"nvidia-fabricmanager"}, ["nvidia-fabricmanager"]),
        ({}, UBUNTU, ["nvidia-dkms-580-server-open"]),
        ({}, {*UBUNTU, "nvidia-dkms-580-server-open"}, []),
        ({"packaging": "precompiled"}, BUILT, []),
        ({"packaging": "precompiled"}, UBUNTU, ["linux-modules-nvidia-580-server-open-KERNEL"]),
        ({"packaging": "precompiled", "fabric_manager": True}, BUILT, ["nvidia-fabricmanager-580"]),
        (
            {"packaging": "precompiled", "flavour": "closed"},
            BUILT,
            ["nvidia-headless-no-dkms-580-server", "linux-modules-nvidia-580-server-KERNEL"],
        ),
        (
            {"packaging": "precompiled"},
            DEBIAN,
            [
                "nvidia-headless-no-dkms-580-server-open",
                "nvidia-utils-580-server",
                "linux-modules-nvidia-580-server-open-KERNEL",
            ],
        ),
    ],
)
def test_what_is_missing(policy: dict[str, Any], found: set[str], lacking: list[str]) -> None:
    assert missing(NvidiaDriverPolicy(**policy), found) == lacking


def test_releases_leave_out_revisions_and_kernels() -> None:
    versions = {
        "nvidia-utils-580-server": "580.95.05-0ubuntu0.24.04.1",
        "nvidia-fabricmanager-580": "580.95.05-0ubuntu3",
        "linux-modules-nvidia-580-server-open-generic": "6.8.0-87.88",
    }
    packages = [{"name": name, "version": version} for name, version in versions.items()]
    assert releases(packages) == ["580.95.05"]
    assert releases([*packages, {"name": "libcuda1", "version": "570.195.03-1"}]) == ["570.195.03", "580.95.05"]


def test_the_module_of_one_kernel_alone_may_be_loose() -> None:
    names = [
        "linux-modules-nvidia-580-server-open-6.8.0-87-generic",
        "linux-modules-nvidia-580-server-open-generic",
        "linux-modules-nvidia-580-server-open-generic-hwe-24.04",
        "nvidia-utils-580-server",
    ]
    assert loose([{"name": name, "held": False} for name in names]) == names[1:]
    assert not loose([{"name": name, "held": True} for name in names])
