"""The role cuda_toolkit on twins, with the real apt and gpg, and a simulated vendor's packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from role_bench import SHELF, Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.cuda import cuda_packages
from boxwright.lab.vendors.nvidia import nvidia_packages
from boxwright.lab.vendors.repository import Package
from boxwright.model.catalogues import load_profile

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

OLD_DRIVER, DRIVER, NEW_DRIVER = "570.195.03-1", "580.95.05-1", "620.10.02-1"
INSTALLED = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p' | grep -E"
TOOLKITS = f"{INSTALLED} '^(cuda|libcublas|nsight)' || :"
DRIVERS = f"{INSTALLED} '^(nvidia-|libnvidia-|libcuda1|cuda-drivers)' || :"
TRACES = "ls -R /etc/apt/sources.list.d /etc/apt/preferences.d /usr/share/keyrings /etc/profile.d; apt-mark showhold"


def offered() -> list[Package]:
    """Drivers and toolkits in one repository, like the vendor's."""
    drivers = [OLD_DRIVER, DRIVER, NEW_DRIVER]
    return [
        *nvidia_packages(drivers),
        *cuda_packages(["12.8.1", "12.9.1", "13.0.2", "13.2.0"]),
        *(Package("cuda-drivers", version, {"Depends": f"nvidia-driver-cuda (= {version})"}) for version in drivers),
    ]


@pytest.fixture(scope="module")
def all_twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware, volta = load_profile("8x4090").hardware, load_profile("1xv100").hardware
    specs = [
        TwinSpec("bookworm", "debian-12", hardware),
        TwinSpec("trixie", "debian-13", hardware),
        TwinSpec("volta", "debian-12", volta),
    ]
    with role_bench("cuda_toolkit", specs, tmp_path_factory.mktemp("cuda")) as bench:
        bench.variables["repository"] = bench.put_repository("vendor", offered())
        yield bench


@pytest.fixture
def bench(all_twins: Bench) -> Bench:
    """The twins with cards that every CUDA builds for."""
    return replace(all_twins, twins=all_twins.twins[:2])


@pytest.fixture
def volta(all_twins: Bench) -> Bench:
    """The twin with a Volta card."""
    return replace(all_twins, twins=all_twins.twins[2:])


def candidates(bench: Bench, package: str) -> set[str]:
    """What apt would take of a package, on each twin."""
    policies = bench.everywhere(f"apt-cache policy {package} | sed -n 's/^  Candidate: //p'")
    return {policy.strip() for policy in policies}


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    before = bench.everywhere(TRACES)
    assert bench.run("--check", "--diff").well().changed > 0
    assert bench.everywhere(TRACES) == before


def test_what_cannot_be_is_refused_and_leaves_nothing(bench: Bench, volta: Bench) -> None:
    before = bench.everywhere(TRACES), volta.everywhere(TRACES)
    volta.run().refused("a Volta card, and CUDA 13.0 builds nothing for it: CUDA 13 dropped Volta. Take 12.9")
    bench.everywhere(f"dpkg -i {SHELF}/vendor/libcuda1_{OLD_DRIVER}_amd64.deb")
    bench.run().refused("CUDA 13.0 needs driver 580.65.06 or newer, and 570.195.03 is installed")
    told = bench.run("--check").well()  # role nvidia_driver might raise the branch before
    assert "unless the driver changes before, a run stops here: CUDA 13.0 needs driver 580.65.06" in told.output
    bench.everywhere("dpkg --purge libcuda1")
    assert (bench.everywhere(TRACES), volta.everywhere(TRACES)) == before


def test_the_toolkit_comes_alone_is_held_and_then_left_alone(bench: Bench) -> None:
    first = bench.run().well()
    assert "not provable in a container" in first.output
    for packages in bench.everywhere(TOOLKITS):
        assert packages.split() == [
            "cuda-nvcc-13-0",
            "cuda-toolkit-13-0",
            "cuda-toolkit-13-0-config-common",
            "libcublas-13-0",
            "nsight-compute-13.0.2",
        ]  # no demo suite, which is recommended and would bring a driver
    assert bench.everywhere(DRIVERS) == ["", ""]
    assert bench.everywhere("apt-mark showhold") == ["cuda-toolkit-13-0\n"] * 2
    assert (
        bench.everywhere("bash -lc 'nvcc --version'")
        == ["SIMULATED Cuda compilation tools, release 13.0, V13.0.1\n"] * 2
    )
    bench.run().well(changed=0)
    bench.run("--check").well(changed=0)


def test_no_driver_and_no_other_release_can_come_in(bench: Bench) -> None:
    for package in ("cuda", "cuda-13-0", "cuda-runtime-13-0", "cuda-toolkit", "cuda-toolkit-13", "cuda-toolkit-13-2"):
        assert candidates(bench, package) == {"(none)"}, package
    for package in ("libcuda1", "nvidia-driver-cuda", "cuda-drivers", "nvidia-kernel-open-dkms"):
        assert NEW_DRIVER not in candidates(bench, package), package
    for proposal in bench.everywhere("apt-get --simulate dist-upgrade"):
        assert not [line for line in proposal.splitlines() if line.startswith(("Inst", "Remv")) and "cuda" in line]


def test_the_pin_of_the_driver_counts_where_it_is_there(bench: Bench) -> None:
    """With the very text of role nvidia_driver, which names the driver's packages in a file that apt reads between."""
    driver = replace(bench, role="nvidia_driver")
    driver.run().well()
    assert bench.everywhere("dpkg-query -W -f '${Version}\\n' libcuda1 nvidia-driver-cuda") == [f"{DRIVER}\n" * 2] * 2
    bench.run().well(changed=0)
    assert candidates(bench, "nvidia-driver-cuda") == {DRIVER}
    assert candidates(bench, "cuda-toolkit-13-2") == {"(none)"}


def test_a_lost_hold_and_lost_files_are_put_back(bench: Bench) -> None:
    lost = "/etc/apt/preferences.d/boxwright-cuda /etc/apt/preferences.d/boxwright-without-driver"
    bench.everywhere(f"apt-mark unhold cuda-toolkit-13-0; rm {lost} /etc/profile.d/boxwright-cuda.sh")
    bench.run().well(changed=6)
    assert bench.everywhere("apt-mark showhold | grep cuda-toolkit") == ["cuda-toolkit-13-0\n"] * 2


def test_another_release_takes_the_place_of_ours_and_leaves_that_of_others(bench: Bench) -> None:
    """The toolkit 12.8 is an administrator's: it was installed without this role, and is not held."""
    bench.everywhere(
        "apt-get -qy -oDir::Etc::PreferencesParts=/dev/null install --no-install-recommends cuda-toolkit-12-8"
    )
    foreign = bench.everywhere(f"{INSTALLED} '12[-.]8'")
    bench.run("--check", version="12.9").well()  # under the pin of 13.0, which has no other release
    bench.run(version="12.9").well()
    assert bench.everywhere("apt-mark showhold | grep cuda-toolkit") == ["cuda-toolkit-12-9\n"] * 2
    assert bench.everywhere(f"{INSTALLED} '13[-.]0' || :") == ["", ""]
    assert bench.everywhere(f"{INSTALLED} '12[-.]8'") == foreign
    assert set(bench.everywhere("bash -lc 'nvcc --version'")) == {
        "SIMULATED Cuda compilation tools, release 12.9, V12.9.1\n"
    }
    bench.run(version="13.0").well()
    assert bench.everywhere(f"{INSTALLED} '^cuda-toolkit-1.-.$'") == ["cuda-toolkit-12-8\ncuda-toolkit-13-0\n"] * 2


def test_volta_takes_the_last_cuda_that_knows_it_however_long_that_takes(
    volta: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gigabytes over a slow line do: longer than a run lets tasks hang."""
    monkeypatch.setenv("ANSIBLE_TASK_TIMEOUT", "20")
    slow = 'DPkg::Pre-Invoke { "sleep 30"; };'
    volta.everywhere(f"echo '{slow}' > /etc/apt/apt.conf.d/99slow")
    volta.run(version="12.9").well()
    volta.everywhere("rm /etc/apt/apt.conf.d/99slow")
    assert volta.everywhere("apt-mark showhold") == ["cuda-toolkit-12-9\n"]


def test_what_is_found_out_later_is_refused(volta: Bench) -> None:
    volta.run(version="12.7").refused(
        "has no CUDA 12.7; it has cuda-toolkit-12-8, cuda-toolkit-12-9, cuda-toolkit-13-0"
    )
    volta.everywhere("sed -i s/12.9/12.8/g /usr/local/cuda-12.9/bin/nvcc")
    volta.run(version="12.9").refused("--version does not speak of release 12.9, but says: SIMULATED Cuda compilation")
