"""The role nvidia_driver on a twin that says it is Ubuntu, with a SIMULATED archive: built modules, and Secure Boot.

The twin is Debian in all but its name. apt, dpkg, depmod, modinfo and mokutil are real; kernels, modules and the
firmware's variables are simulated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from uuid import UUID

import pytest
from role_bench import SHELF, Bench, role_bench
from simulated_ubuntu import Signer, built_modules, dkms, driver, kernels

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.repository import KEY, LABEL, Package
from boxwright.model.catalogues import load_profile

# Takes long: for the weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

OLD, RIGHT, NEW = "570.195.03", "580.95.05", "590.44.01"
RELEASED = "580.105.08"  # of the same branch, after the machine was made
KERNELS = ["6.8.0-85-generic", "6.8.0-87-generic"]
NEXT_KERNEL = "6.8.0-90-generic"
SHIM, GLOBAL = UUID("605dab50-e046-4300-abb6-3dd810dd8b23"), UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
VARIABLES = "/sys/firmware/efi/efivars"

MODULES = """
for image in /boot/vmlinuz-*; do
  kernel=${image#/boot/vmlinuz-}
  echo "$kernel $(modinfo -k $kernel -F version nvidia) $(modinfo -k $kernel -F filename nvidia)"
done
"""


@pytest.fixture(scope="module")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The key that the simulated archive signs modules with."""
    return Signer.made(tmp_path_factory.mktemp("canonical"), "canonical")


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The key that dkms on the twin signs modules with."""
    return Signer.made(tmp_path_factory.mktemp("owner"), "owner")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, canonical: Signer, owner: Signer) -> Iterator[Bench]:
    specs = [TwinSpec("noble", "debian-12", load_profile("8x4090").hardware)]
    folder = tmp_path_factory.mktemp("ubuntu")
    with role_bench("nvidia_driver", specs, folder, packages=True, lab_name="ubuntu-driver") as bench:
        (twin,) = bench.twins
        bench.on(twin, "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mokutil")
        bench.on(twin, "sed -i -e 's/^ID=.*/ID=ubuntu/' -e 's/^VERSION_ID=.*/VERSION_ID=\"24.04\"/' /etc/os-release")
        bench.on(twin, "rm /etc/apt/sources.list.d/* /etc/apt/sources.list 2>/dev/null; true")
        releases = (OLD, RIGHT, NEW)
        built = [built_modules(release, KERNELS, signer=canonical) for release in releases]
        add(bench, "archive", [*kernels(KERNELS), dkms(), *driver(releases, signer=owner), *chain(*built)])
        bench.on(twin, f"apt-get -qq install linux-image-generic {' '.join(f'linux-image-{one}' for one in KERNELS)}")
        # The vendor's repository, which is there for CUDA, has some of the driver under the same names.
        add(bench, "cuda", [Package("nvidia-fabricmanager-580", f"{RIGHT}-1")], label="NVIDIA CUDA")
        bench.variables["packaging"] = "precompiled"
        yield bench


def add(bench: Bench, name: str, packages: Iterable[Package], *, label: str = LABEL) -> None:
    """Let the twin's archive have these packages, too."""
    bench.put_repository(name, packages, label=label)
    (twin,) = bench.twins
    line = f"deb [signed-by={SHELF}/{name}/{KEY}] file://{SHELF}/{name} ./"
    bench.on(twin, f"echo '{line}' > /etc/apt/sources.list.d/{name}.list; apt-get -qq update")


def modules(bench: Bench) -> dict[str, tuple[str, str]]:
    """Version and place of each installed kernel's module."""
    (told,) = bench.everywhere(MODULES)
    return {kernel: (version, place) for kernel, version, place in (line.split() for line in told.splitlines())}


def installed(bench: Bench, *patterns: str) -> dict[str, str]:
    """Installed packages of these names, and their versions."""
    asked = " ".join(f"'{pattern}'" for pattern in patterns)
    (told,) = bench.everywhere(
        f"dpkg-query -W -f '${{db:Status-Status}} ${{Package}} ${{Version}}\\n' {asked} 2>/dev/null; true"
    )
    rows = (line.split() for line in told.splitlines())
    return {name: version for status, name, version in rows if status == "installed"}


def switch_secure_boot(bench: Bench, folder: Path, *, on: bool, enrolled: Signer | None = None) -> None:
    """Give the twin a firmware of its own, SIMULATED, whose shim trusts the enrolled key."""
    (twin,) = bench.twins
    variables = folder / "variables"
    variables.mkdir()
    (variables / f"SecureBoot-{GLOBAL}").write_bytes(struct.pack("<IB", 6, on))
    if enrolled:
        entry = SHIM.bytes_le + enrolled.der.read_bytes()
        keys = X509.bytes_le + struct.pack("<III", 28 + len(entry), 0, len(entry)) + entry
        (variables / f"MokListRT-{SHIM}").write_bytes(struct.pack("<I", 6) + keys)
    mounted = "grep -q '^simulated /sys/firmware ' /proc/mounts"
    bench.on(twin, f"{mounted} || mount -t tmpfs simulated /sys/firmware; rm -rf {VARIABLES}")
    bench.on(twin, "mkdir -p /sys/firmware/efi")
    bench.copy(variables, VARIABLES)
    # What tells mokutil's library to take a folder for the kernel's own file system of variables.
    bench.on(twin, f"echo EFIVARFS_PATH={VARIABLES}/ > /etc/environment")


def test_a_dry_run_changes_nothing(bench: Bench) -> None:
    assert bench.run("--check", "--diff").well().changed > 0
    assert not installed(bench, "nvidia-*", "linux-modules-nvidia-*")


def test_every_kernel_has_its_built_module_and_all_of_it_is_held(bench: Bench) -> None:
    bench.run(fabric_manager=True).well()
    assert {kernel: version for kernel, (version, _) in modules(bench).items()} == dict.fromkeys(KERNELS, RIGHT)
    assert all("nvidia-580srv-open" in place for _, place in modules(bench).values())
    assert installed(bench, "nvidia-fabricmanager-580") == {"nvidia-fabricmanager-580": f"{RIGHT}-0ubuntu3"}
    (held,) = bench.everywhere("apt-mark showhold")
    assert {
        "linux-image-generic",
        "linux-modules-nvidia-580-server-open-generic",
        "nvidia-headless-no-dkms-580-server-open",
        "nvidia-utils-580-server",
        "libnvidia-compute-580-server",
        "nvidia-fabricmanager-580",
    } <= set(held.split())
    assert not installed(bench, "nvidia-dkms-*", "dkms")
    assert "boxwright" not in bench.everywhere("ls /etc/apt/sources.list.d")[0]
    bench.run(fabric_manager=True).well(changed=0)
    bench.run("--check", fabric_manager=True).well(changed=0)


def test_no_upgrade_brings_a_kernel_without_its_module(bench: Bench, canonical: Signer, owner: Signer) -> None:
    """What the archive then has: a release of the branch, a kernel, and modules of that release for that kernel."""
    news = [*kernels([NEXT_KERNEL]), *driver([RELEASED], signer=owner)]
    add(bench, "updates", [*news, *built_modules(RELEASED, [NEXT_KERNEL], signer=canonical)])
    for upgrade in ("upgrade", "dist-upgrade"):
        (proposal,) = bench.everywhere(f"apt-get --simulate {upgrade}")
        assert not [line for line in proposal.splitlines() if line.startswith(("Inst", "Remv"))]
    bench.run(fabric_manager=True).well(changed=0)


def test_who_lets_go_of_the_holds_gets_kernel_and_driver_together(bench: Bench) -> None:
    (twin,) = bench.twins
    bench.on(twin, "apt-mark unhold $(apt-mark showhold) >/dev/null; apt-get -qq dist-upgrade")
    told = bench.run(fabric_manager=True)
    # The older kernels' modules are of the former release, and the archive has no others for them.
    told.refused(f"No module {RELEASED} for {', '.join(KERNELS)}: after a reboot into that kernel")
    bench.on(twin, f"apt-get -qq purge {' '.join(f'linux-image-{kernel}' for kernel in KERNELS)}")
    bench.run(fabric_manager=True).well()
    assert {kernel: version for kernel, (version, _) in modules(bench).items()} == {NEXT_KERNEL: RELEASED}
    bench.run(fabric_manager=True).well(changed=0)


def test_a_kernel_that_nobody_builds_for_is_refused_by_its_name(bench: Bench) -> None:
    (twin,) = bench.twins
    add(bench, "own-kernel", kernels(["6.8.0-91-custom"], names=[]))
    bench.on(twin, "apt-get -qq install linux-image-6.8.0-91-custom")
    ended = bench.run()
    bench.on(twin, "apt-get -qq purge linux-image-6.8.0-91-custom; rm /etc/apt/sources.list.d/own-kernel.list")
    bench.on(twin, "apt-get -qq update")
    ended.refused("Ubuntu has no linux-modules-nvidia-580-server-open-6.8.0-91-custom")


def test_secure_boot_takes_modules_that_are_signed(bench: Bench, tmp_path: Path) -> None:
    switch_secure_boot(bench, tmp_path, on=True)
    bench.run(fabric_manager=True).well(changed=0)
    (twin,) = bench.twins
    place = modules(bench)[NEXT_KERNEL][1]
    bench.on(twin, f"cp {place} /root/signed.ko; truncate -s -28 {place}")  # without the mark at its end
    ended = bench.run(fabric_manager=True)
    bench.on(twin, f"mv /root/signed.ko {place}")
    ended.refused(f"Secure Boot is on, and nobody has signed the module of {NEXT_KERNEL}")


def test_secure_boot_takes_built_here_only_with_an_enrolled_key(bench: Bench, owner: Signer, tmp_path: Path) -> None:
    (twin,) = bench.twins
    told = "the key that dkms signs with is not enrolled. Set packaging to precompiled, for modules that Ubuntu has"
    bench.run(packaging="dkms").refused(told)
    bench.on(twin, "mkdir -p /var/lib/shim-signed/mok")
    bench.copy(owner.der, "/var/lib/shim-signed/mok/MOK.der")
    bench.run(packaging="dkms").refused(told)  # it is there, and the firmware does not know it
    switch_secure_boot(bench, tmp_path, on=True, enrolled=owner)
    bench.run(packaging="dkms").well()
    assert modules(bench) == {NEXT_KERNEL: (RELEASED, f"/lib/modules/{NEXT_KERNEL}/updates/dkms/nvidia.ko")}
    assert not installed(bench, "linux-modules-nvidia-*")
    bench.run(packaging="dkms").well(changed=0)


def test_modules_built_here_give_way_to_built_ones(bench: Bench) -> None:
    bench.run().well()
    assert not installed(bench, "nvidia-dkms-*")
    assert "nvidia-580srv-open" in modules(bench)[NEXT_KERNEL][1]


def test_the_profile_decides_on_branch_and_flavour(bench: Bench, canonical: Signer, tmp_path: Path) -> None:
    switch_secure_boot(bench, tmp_path, on=False)
    bench.run(flavour="closed").well()
    assert "nvidia-580srv/" in modules(bench)[NEXT_KERNEL][1]
    assert not installed(bench, "*nvidia*-open*")
    bench.run(branch=590).refused(f"Ubuntu has no linux-modules-nvidia-590-server-open-{NEXT_KERNEL}")
    add(bench, "branch", built_modules(NEW, [NEXT_KERNEL], signer=canonical))
    bench.run(branch=590).well()
    assert {version for version, _ in modules(bench).values()} == {NEW}
    assert {name for name in installed(bench, "*nvidia*580*") if "firmware" not in name} == set()
    bench.run(branch=590).well(changed=0)
    bench.run(branch=610).refused(
        "apt knows no nvidia-headless-no-dkms-610-server-open. Ubuntu has it in its component"
    )
