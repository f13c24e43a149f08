"""The role amd_rocm on twins, with the real apt and gpg, and a simulated vendor's packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from role_bench import SHELF, Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.amd import amdgpu_packages, rocm_packages
from boxwright.lab.vendors.repository import Package
from boxwright.model.catalogues import load_profile

# Takes long: for the weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

# Drivers 30.20, 30.30 and 30.30.4, and the ROCm releases that they came with.
OLD_DRIVER, DRIVER, NEW_DRIVER = (
    "6.16.6.30200000-2238411.24.04",
    "6.16.13.30300000-2278356.24.04",
    "6.16.13.30300400-2341068.24.04",
)
RELEASES = ["7.1.0", "7.2.0", "7.2.4"]
FAMILY = [
    "amd-smi-lib",
    "amdgpu-dkms",
    "amdgpu-dkms-firmware",
    "rocm-core",
    "rocm-hip-runtime",
    "rocm-smi-lib",
    "rocminfo",
]
VERSIONS = f"dpkg-query -W -f '${{db:Status-Status}} ${{Version}}\\n' {' '.join(FAMILY)} 2>/dev/null | sort"
TRACES = "ls -R /etc/apt/sources.list.d /etc/apt/preferences.d /usr/share/keyrings; apt-mark showhold"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8xmi300x").hardware
    specs = [TwinSpec("bookworm", "debian-12", hardware), TwinSpec("trixie", "debian-13", hardware)]
    with role_bench("amd_rocm", specs, tmp_path_factory.mktemp("amd"), packages=True) as bench:
        modules = list(amdgpu_packages([OLD_DRIVER, DRIVER, NEW_DRIVER]))
        bench.variables["amdgpu_repository"] = bench.put_repository("amdgpu", modules)
        bench.variables["repository"] = bench.put_repository("rocm", list(rocm_packages(RELEASES)))
        yield bench


def installed(driver: str, release: str) -> str:
    """What `VERSIONS` prints when all is of one release: 7.2 is 70200."""
    tag = f"{release}-93~24.04"
    core = ".".join(str(int(part)) for part in (release[0], release[1:3], release[3:]))
    versions = [f"1:{driver}"] * 2 + [f"{core}.{tag}"] * 2 + [f"{low}.{tag}" for low in ("1.0.0", "26.2.1", "7.8.0")]
    return "".join(f"installed {version}\n" for version in sorted(versions))


def in_order(texts: list[str]) -> list[str]:
    """The texts with their lines in Python's order, for `sort` goes by the machine's language."""
    return ["".join(sorted(text.splitlines(keepends=True))) for text in texts]


def test_what_cannot_be_is_refused_and_leaves_nothing(bench: Bench) -> None:
    before = bench.everywhere(TRACES)
    right = bench.variables["amdgpu_repository"]
    bench.run(amdgpu_repository=right | {"key_fingerprint": "0" * 40}).refused(
        f"is not the key {'0' * 40}, but {right['key_fingerprint']}. Nothing was trusted."
    )
    one = replace(bench, twins=bench.twins[:1])
    one.run(version="7.9").refused("does not know which kernel module belongs to ROCm 7.9: it knows 6.x and 7.0,")
    one.everywhere("cp /etc/os-release /srv; sed -i 's/^VERSION_ID=.*/VERSION_ID=99/' /etc/os-release")
    stranger = one.run()
    one.everywhere("cat /srv/os-release > /etc/os-release")
    stranger.refused(
        "No ROCm packages for debian99 on amd64: this role knows debian12, debian13, ubuntu2204, ubuntu2404"
    )
    assert bench.everywhere(TRACES) == before


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    """Once with AMD's own repositories, for their addresses."""
    before = bench.everywhere(TRACES)
    real = bench.run("--check", "--diff", repository=None, amdgpu_repository=None).well()
    assert "URIs: https://repo.radeon.com/amdgpu/30.30/ubuntu +Suites: jammy +Components: main" in real.output
    assert "URIs: https://repo.radeon.com/rocm/apt/7.2 +Suites: noble +Components: main" in real.output
    assert bench.everywhere(TRACES) == before


def test_one_release_is_installed_held_and_then_left_alone(bench: Bench) -> None:
    first = bench.run().well()
    assert "not provable in a container" in first.output
    # Neither the newest release, nor the distribution's rocminfo, whose version is higher.
    assert in_order(bench.everywhere(VERSIONS)) == [installed(DRIVER, "70200")] * 2
    for versions in bench.everywhere("apt-cache madison rocminfo"):
        assert re.search(r"rocminfo \| +[56]\.", versions), "the distribution has none that could be chosen wrongly"
    assert [held.split() for held in bench.everywhere("apt-mark showhold")] == [FAMILY] * 2
    for groups in bench.everywhere("getent group render video"):
        assert [line.split(":")[0] for line in groups.splitlines()] == ["render", "video"]
    bench.run().well(changed=0)
    bench.run("--check").well(changed=0)


def test_nothing_else_can_come_in_even_without_holds(bench: Bench) -> None:
    bench.everywhere("apt-mark unhold amdgpu-dkms rocminfo rocm-hip-runtime rocm-core")
    for proposal in bench.everywhere("apt-get --simulate dist-upgrade"):
        moved = [line.split()[1] for line in proposal.splitlines() if line.startswith(("Inst", "Remv"))]
        assert not {*moved} & {*FAMILY}


def test_a_lost_hold_and_a_lost_pin_are_put_back(bench: Bench) -> None:
    bench.everywhere("rm /etc/apt/preferences.d/boxwright-rocm")  # the holds went in the test before
    bench.run().well(changed=4)
    assert [held.split() for held in bench.everywhere("apt-mark showhold")] == [FAMILY] * 2


def test_the_profile_decides_on_the_release(bench: Bench) -> None:
    assert bench.run("--check", version="7.2.4").well().changed > 0  # under the pins of 7.2
    bench.run(version="7.2.4").well()
    assert in_order(bench.everywhere(VERSIONS)) == [installed(NEW_DRIVER, "70204")] * 2
    bench.run(version="7.1.0").well()
    assert in_order(bench.everywhere(VERSIONS)) == [installed(OLD_DRIVER, "70100")] * 2
    assert [held.split() for held in bench.everywhere("apt-mark showhold")] == [FAMILY] * 2


AS_A_MACHINE = f"""
set -e
for name in systemd-detect-virt modinfo; do
    install -m 0755 /srv/stand-in /usr/local/sbin/$name
done
touch /boot/vmlinuz-6.1.0-9-amd64 /boot/vmlinuz-6.1.0-10-amd64
dpkg -i {SHELF}/tools/*.deb
"""
STAND_IN = """\
#!/bin/sh
case "${0##*/} $*" in
systemd-detect-virt*) echo none ;;
*srcversion*) echo 533BB7E5866E52F63B9ACCB ;;
"modinfo -k BARE -F filename amdgpu") echo /lib/modules/x/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko ;;
*filename*) echo /lib/modules/x/updates/dkms/amdgpu.ko ;;
esac
"""


def test_kernels_and_the_loaded_module_are_looked_after(bench: Bench) -> None:
    """With stand-ins for what a container has not: kernels, headers, dkms, and modinfo, which tells of them."""
    bench = replace(bench, twins=bench.twins[:1])
    bench.put_repository("tools", [Package(name, "1", architecture="all") for name in ("linux-headers-amd64", "dkms")])
    due = "/run/boxwright/reboot-due/amd_rocm"
    for bare in ("6.1.0-10-amd64", "none"):
        bench.everywhere(f"cat > /srv/stand-in <<'END'\n{STAND_IN.replace('BARE', bare)}END")
        bench.everywhere(AS_A_MACHINE)
        ended = bench.run(version="7.1")
        if bare == "none":
            ended.well(changed=0)
            assert bench.everywhere(f"stat -c %a {due}; cat {due}") == [
                "644\nthe running kernel has no module amdgpu, and that of driver 30.20 is installed\n"
            ]
        else:
            ended.refused(f"{bare} is installed without AMD's module, and after a reboot into it no card computes.")
            assert bench.everywhere(f"ls {due} 2>/dev/null || :") == [""]


def test_what_the_repository_does_not_have_is_refused(bench: Bench) -> None:
    one = replace(bench, twins=bench.twins[:1])
    one.run(version="7.0").refused("amdgpu-dkms, rocm-hip-runtime, rocm-smi-lib, rocminfo of ROCm 7.0 (driver 30.10)")
