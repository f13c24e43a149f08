"""Debian's own NVIDIA driver, its module really built for a real kernel, and a kernel that has none. On demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from role_bench import Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.supervisor import GUEST_VENDORS
from boxwright.model.catalogues import load_profile

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends"
KERNEL = "linux-image-cloud-amd64"
HEADERS = "linux-headers-cloud-amd64"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("1xv100").hardware
    specs = [TwinSpec("bookworm", "debian-12", hardware, vendors=True)]
    folder = tmp_path_factory.mktemp("real")
    with role_bench("nvidia_driver", specs, folder, packages=True, lab_name="real-driver") as bench:
        bench.variables |= {
            "repository": bench.lab.vendors.repositories.model_dump()["nvidia"],
            "flavour": "closed",
        }
        yield bench


def installed_kernel(bench: Bench) -> str:
    return bench.on(bench.twins[0], "ls /boot/vmlinuz-* | sed 's,.*/vmlinuz-,,'").strip()


def test_debians_own_module_is_built_for_a_real_kernel(bench: Bench) -> None:
    (twin,) = bench.twins
    bench.on(twin, f"{INSTALL} {KERNEL} {HEADERS} nvidia-kernel-dkms", timeout_s=1200)
    kernel = installed_kernel(bench)
    assert f"{kernel}, x86_64: installed" in bench.on(twin, "dkms status")
    assert bench.on(twin, f"modinfo -k {kernel} -F version nvidia-current").startswith("535.")
    assert bench.on(twin, f"modinfo -k {kernel} -F license nvidia-current").strip() == "NVIDIA"


def test_a_kernel_without_a_module_is_refused_by_its_name(bench: Bench) -> None:
    """The simulated driver takes the place of the real one, and builds nothing."""
    (twin,) = bench.twins
    kernel = installed_kernel(bench)
    purge = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 purge"
    bench.on(twin, f"{purge} 'nvidia-*' firmware-nvidia-gsp", timeout_s=600)
    assert GUEST_VENDORS in bench.variables["repository"]["uri"]
    bench.run().refused(kernel)
