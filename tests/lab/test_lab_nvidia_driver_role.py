"""The role nvidia_driver on twins, with the real apt and gpg, and a simulated vendor's packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from role_bench import SHELF, Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.nvidia import nvidia_packages
from boxwright.model.catalogues import load_profile

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

VERSIONS_OFFERED = OLD, RIGHT, NEW = "570.195.03-1", "580.95.05-1", "590.44.01-1"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8x4090").hardware
    specs = [TwinSpec("bookworm", "debian-12", hardware), TwinSpec("trixie", "debian-13", hardware)]
    with role_bench("nvidia_driver", specs, tmp_path_factory.mktemp("nvidia")) as bench:
        bench.variables["repository"] = bench.put_repository("vendor", nvidia_packages(VERSIONS_OFFERED))
        yield bench


VERSIONS = (
    "dpkg-query -W -f '${db:Status-Status} ${Version}\\n' 'nvidia-*' 'libnvidia-*' libcuda1 | grep ^installed | sort -u"
)
TRACES = (
    "ls /etc/apt/sources.list.d /etc/apt/preferences.d /usr/share/keyrings/boxwright* /etc/modprobe.d 2>/dev/null; true"
)


def test_wrong_and_expired_keys_are_refused_and_leave_nothing(bench: Bench) -> None:
    before = bench.everywhere(TRACES)
    right = bench.variables["repository"]
    bench.run(repository=right | {"key_fingerprint": "0" * 40}).refused(
        f"is not the key {'0' * 40}, but {right['key_fingerprint']}. Nothing was trusted."
    )
    assert bench.everywhere(TRACES) == before
    expired = bench.put_repository("expired", nvidia_packages(VERSIONS_OFFERED), key_expires="seconds=1")
    bench.run(repository=expired).refused(
        f"The key {expired['key_fingerprint']} of file:///srv/simulated/expired has expired"
    )
    assert "boxwright" not in bench.on(bench.twins[0], "ls /etc/apt/sources.list.d /etc/apt/preferences.d")


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    before = bench.everywhere(TRACES)
    assert bench.run("--check", "--diff").well().changed > 0
    assert bench.everywhere(TRACES) == before


def test_the_branch_is_installed_held_and_then_left_alone(bench: Bench) -> None:
    first = bench.run(fabric_manager=True, disable_hmm=True).well()
    assert "not provable in a container" in first.output
    assert bench.everywhere(VERSIONS) == [f"installed {RIGHT}\n"] * 2  # not the repository's newest
    for held in bench.everywhere("apt-mark showhold"):
        assert {"nvidia-driver-cuda", "nvidia-kernel-open-dkms", "libcuda1", "nvidia-fabricmanager"} <= set(
            held.split()
        )
    for proposal in bench.everywhere("apt-get --simulate dist-upgrade"):
        assert "nvidia" not in "".join(line for line in proposal.splitlines() if line.startswith("Inst"))
    for services in bench.everywhere("systemctl is-enabled nvidia-persistenced nvidia-fabricmanager"):
        assert services.split() == ["enabled", "enabled"]
    assert all("uvm_disable_hmm=1" in text for text in bench.everywhere("cat /etc/modprobe.d/boxwright-nvidia.conf"))
    bench.run(fabric_manager=True, disable_hmm=True).well(changed=0)
    bench.run("--check", fabric_manager=True, disable_hmm=True).well(changed=0)


def test_a_lost_hold_and_a_lost_pin_are_put_back(bench: Bench) -> None:
    bench.everywhere("apt-mark unhold libcuda1; rm /etc/apt/preferences.d/boxwright-nvidia")
    bench.run(fabric_manager=True, disable_hmm=True).well(changed=4)
    assert all("libcuda1" in held for held in bench.everywhere("apt-mark showhold"))


def test_libraries_of_another_version_are_refused(bench: Bench) -> None:
    bench.everywhere(f"dpkg --force-all -i {SHELF}/vendor/libnvidia-ml1_{NEW}_amd64.deb")
    bench.run(fabric_manager=True, disable_hmm=True).refused(f"{RIGHT} is installed, and beside it libnvidia-ml1")
    bench.everywhere(f"dpkg --force-all -i {SHELF}/vendor/libnvidia-ml1_{RIGHT}_amd64.deb")


def test_the_profile_decides_on_branch_and_flavour(bench: Bench) -> None:
    assert bench.run("--check", branch=590, flavour="closed", fabric_manager=True).well().changed > 0
    bench.run(branch=590, flavour="closed", fabric_manager=True).well()
    assert bench.everywhere(VERSIONS) == [f"installed {NEW}\n"] * 2
    modules = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' 'nvidia-kernel*' | grep ^installed"
    assert bench.everywhere(modules) == ["installed nvidia-kernel-dkms\n"] * 2
    bench.run(branch=570, fabric_manager=True).well()
    assert bench.everywhere(VERSIONS) == [f"installed {OLD}\n"] * 2
    assert all("libcuda1" in held for held in bench.everywhere("apt-mark showhold"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"branch": 610}, "has no driver of branch 610; it has"),
        ({"branch": 620, "flavour": "closed"}, "Branch 620 has open kernel modules only"),
        ({"flavour": "both"}, "must be one of"),
        ({"packaging": "precompiled"}, "Nobody publishes modules that are built for the kernels of debian12"),
    ],
)
def test_what_cannot_be_is_refused(bench: Bench, variables: dict[str, Any], message: str) -> None:
    bench.run(**variables).refused(message)


def test_a_driver_from_a_run_file_is_refused(bench: Bench) -> None:
    bench.everywhere("printf '#!/bin/sh\\n' > /usr/bin/nvidia-uninstall; chmod +x /usr/bin/nvidia-uninstall")
    ended = bench.run()
    bench.everywhere("rm /usr/bin/nvidia-uninstall")
    ended.refused("Remove it first: /usr/bin/nvidia-uninstall --silent")
