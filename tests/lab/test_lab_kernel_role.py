"""The kernel role's settings beyond sysctls on twins: limits, huge pages, governor, access control, arguments at boot.

What a container's host keeps to itself is stood in for, and called simulated: processors with cpufreq and bridges
with access control are plain files under the kernel's names, `systemd-detect-virt` denies the container, `grub-probe`
names a disk. Real are setpci, update-grub, kernel-install, systemd and the role.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_bench import Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.model.hardware import Cpu, Hardware

# Tests of profiles take the role through a first and a second run every time; its variants and faults are for the
# weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
LATER = {
    "memlock_unlimited": True,
    "hugepages_2mib": 64,
    "cpu_governor": "performance",
    "disable_acs": True,
    "arguments": ["iommu=pt", "pcie_aspm=off"],
}
GRUB_FILE = "/etc/default/grub.d/90-boxwright.cfg"
DUE = "/run/boxwright/reboot-due/kernel"
TRACES = "find /etc /usr/local /run/boxwright -newer /root/began -type f 2>/dev/null | grep -i boxwright; true"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    specs = [TwinSpec("bookworm", "debian-12", HARDWARE), TwinSpec("trixie", "debian-13", HARDWARE)]
    with role_bench("kernel", specs, tmp_path_factory.mktemp("kernel"), packages=True) as bench:
        bench.variables["nofile_limit"] = 8192  # a container gets no more than its host lets it have
        bench.everywhere("touch /root/began")
        yield bench


def test_a_dry_run_on_bare_machines_changes_nothing(bench: Bench) -> None:
    assert bench.run("--check", "--diff", **LATER).well().changed > 0
    assert bench.everywhere(TRACES) == ["", ""]
    assert bench.everywhere("sysctl -n vm.nr_hugepages") == ["0\n"] * 2


def test_settings_of_a_container_are_in_force_and_the_others_named(bench: Bench) -> None:
    first = bench.run(**LATER).well()
    for words in (
        "KiB of locked memory, not all of it: services get the former",
        "no frequency scaling on this machine",
        "not provable in a container: that PCI bridges have access control off",
        "not provable in a container: that the kernel boots with iommu=pt pcie_aspm=off",
    ):
        assert words in first.output
    assert bench.everywhere("sysctl -n vm.nr_hugepages") == ["64\n"] * 2
    assert bench.everywhere("systemctl show --value --property=DefaultLimitMEMLOCK") == ["infinity\n"] * 2
    assert all("* - memlock unlimited" in text for text in bench.everywhere("cat /etc/security/limits.d/*"))
    units = "systemctl is-enabled boxwright-cpu-governor boxwright-disable-acs; systemctl is-system-running"
    assert [told.split() for told in bench.everywhere(units)] == [["enabled", "enabled", "running"]] * 2
    assert bench.everywhere(f"ls {GRUB_FILE} {DUE} 2>/dev/null; true") == ["", ""]  # a container boots no kernel
    bench.run(**LATER).well(changed=0)
    bench.run("--check", "--diff", **LATER).well(changed=0)


def test_drift_is_put_back(bench: Bench) -> None:
    bench.everywhere("sysctl -q -w vm.nr_hugepages=3; systemctl -q disable boxwright-disable-acs")
    bench.everywhere("sed -i /MEMLOCK/d /etc/systemd/system.conf.d/90-boxwright.conf; systemctl daemon-reload")
    assert bench.run("--check", **LATER).well().changed == 4  # of each twin: a file, and the running state
    bench.run(**LATER).well()
    assert bench.everywhere("sysctl -n vm.nr_hugepages") == ["64\n"] * 2
    assert bench.everywhere("systemctl is-enabled boxwright-disable-acs") == ["enabled\n"] * 2
    assert bench.everywhere("systemctl show --value --property=DefaultLimitMEMLOCK") == ["infinity\n"] * 2


def test_a_kernel_that_reserves_too_few_huge_pages_fails_the_run(bench: Bench) -> None:
    """Simulated: a file that nobody can write stands for a memory in pieces."""
    bench.everywhere("echo 40 >/root/few && mount --bind -o ro /root/few /proc/sys/vm/nr_hugepages")
    ended = bench.run(**LATER)
    bench.everywhere("umount /proc/sys/vm/nr_hugepages")
    ended.refused("The kernel could reserve 40 of 64 huge pages: too little memory is free in whole pieces of 2 MiB")
    bench.run(**LATER).well(changed=0)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"hugepages_2mib": 2000}, "reserves 4000 MiB of the machine's 4096, and nothing else could use them"),
        ({"hugepages_2mib": 8, "sysctls": {"vm.nr_hugepages": 8}}, "and vm.nr_hugepages out of the sysctls"),
        (
            {"arguments": ["iommu=pt", 'x="$(reboot)"']},
            "Not an argument of the kernel in the form name or name=value: x=",
        ),
    ],
)
def test_what_cannot_be_is_refused(bench: Bench, variables: dict[str, Any], message: str) -> None:
    bench.run(**variables).refused(message.replace('"', '\\"') if "$(" in message else message)
    assert bench.everywhere("sysctl -n vm.nr_hugepages") == ["64\n"] * 2


def bridge(path: Path, *, control: int, capability: bool = True) -> None:
    """A simulated PCIe root port: 4 KiB of configuration space as setpci reads and writes them."""
    space = bytearray(4096)
    struct.pack_into("<HHHHBBBBBBBB", space, 0, 0x8086, 0x2030, 0x0007, 0x0010, 0, 0, 0x04, 0x06, 0, 0, 0x01, 0)
    space[0x34] = 0x40  # the first capability: PCI Express, version 2, root port
    struct.pack_into("<BBH", space, 0x40, 0x10, 0, 0x0042)
    if capability:  # 0x000d is ACS; its control register lies 6 bytes behind its beginning
        struct.pack_into("<IHH", space, 0x100, 0x0001000D, 0x005F, control)
    path.mkdir(parents=True)
    texts = {"vendor": "0x8086", "device": "0x2030", "class": "0x060400", "irq": "0"}
    resource = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 13
    for name, text in {**texts, "resource": resource}.items():
        (path / name).write_text(f"{text}\n")
    (path / "config").write_bytes(space)


@pytest.fixture(scope="module")
def machine(bench: Bench) -> Bench:
    """Twins that deny being containers, with simulated bridges, governors, command line and disk."""
    views = bench.folder / "simulated"
    for slot, control in (("0000:00:01.0", 0x1D), ("0000:00:02.0", 0x00), ("0000:00:03.0", 0x01)):
        bridge(views / "pci" / slot, control=control)
    bridge(views / "pci/0000:00:04.0", control=0, capability=False)
    (views / "cmdline").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n")
    (views / "none").write_text("#!/bin/sh\necho none\nexit 1\n")
    (views / "disk").write_text('#!/bin/sh\ncase "$*" in *target=device*) echo /dev/sda1 ;; esac\n')
    bench.copy(views, "/root/")
    bench.everywhere("""set -e; cd /root/simulated; chmod +x none disk; cp -a /sys/devices/system/cpu .
        for n in 0 1; do mkdir cpu/cpu$n/cpufreq; echo powersave >cpu/cpu$n/cpufreq/scaling_governor; done
        mount --bind pci /sys/bus/pci/devices; mount --bind cpu /sys/devices/system/cpu
        mount --bind cmdline /proc/cmdline; mount --bind none /usr/bin/systemd-detect-virt
        cd /etc/systemd/system; mkdir boxwright-disable-acs.service.d
        printf '[Unit]\\nConditionVirtualization=\\n' >boxwright-disable-acs.service.d/simulated.conf
        systemctl daemon-reload""")
    bench.run(**LATER).refused(
        "Add to its kernel's command line by hand, reboot, and run again: iommu=pt pcie_aspm=off"
    )
    bench.everywhere("""set -e; cd /root/simulated
        apt-get -qq install --no-install-recommends grub2-common >/dev/null 2>&1
        dpkg-divert --quiet --local --rename /usr/sbin/grub-probe; cp disk /usr/sbin/grub-probe
        cp /usr/share/grub/default/grub /etc/default/grub; mkdir /boot/grub; echo kernel >/boot/vmlinuz-6.1.0-1-amd64
        update-grub >/dev/null 2>&1""")
    bench.run(**LATER).well()
    return bench


BITS = "for n in 1 2 3; do setpci -s 00:0$n.0 ECAP_ACS+0x6.w; done"
GOVERNORS = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def test_bridges_have_no_access_control_and_processors_the_governor(machine: Bench) -> None:
    assert machine.everywhere(BITS) == ["0000\n0000\n0000\n"] * 2
    assert machine.everywhere(GOVERNORS) == ["performance\nperformance\n"] * 2
    machine.everywhere("setpci -s 00:02.0 ECAP_ACS+0x6.w=001f")
    machine.everywhere("echo powersave >/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor")
    shown = machine.run("--check", **LATER).well(changed=2).output
    assert "0000:00:02.0 001f" in shown
    assert "performance powersave" in shown
    machine.run(**LATER).well()
    assert machine.everywhere(BITS) == ["0000\n0000\n0000\n"] * 2
    assert machine.everywhere(GOVERNORS) == ["performance\nperformance\n"] * 2


def test_a_kernel_that_is_locked_down_keeps_access_control_and_the_unit_says_so(machine: Bench) -> None:
    """Simulated: configuration space is mounted read-only."""
    machine.everywhere("setpci -s 00:03.0 ECAP_ACS+0x6.w=001f")
    machine.everywhere("mount --bind -o ro /root/simulated/pci /sys/bus/pci/devices")
    ended = machine.run(**LATER)
    told = machine.everywhere("journalctl -u boxwright-disable-acs --no-pager; umount /sys/bus/pci/devices")
    ended.refused("boxwright-disable-acs.service")
    words = "access control stayed on (a locked down kernel allows no such write): 0000:00:03.0 001f"
    assert all(words in text for text in told)
    machine.everywhere("systemctl restart boxwright-disable-acs")


def test_arguments_are_in_the_menu_and_wait_for_the_reboot(machine: Bench) -> None:
    for entry in machine.everywhere("grep -m1 '^[[:space:]]*linux' /boot/grub/grub.cfg"):
        assert entry.split()[-3:] == ["quiet", "iommu=pt", "pcie_aspm=off"]
    said = "kernel arguments that come into force: iommu=pt pcie_aspm=off"
    assert machine.everywhere(f"cat {DUE}; stat -c '%a' {DUE} {Path(DUE).parent}") == [f"{said}\n644\n755\n"] * 2
    assert f"a reboot is due: {said}" in machine.run(**LATER).well(changed=0).output
    machine.run("--check", "--diff", **LATER).well(changed=0)
    # Killed before the menu was made: the next run makes it.
    machine.everywhere(f"sed -i 's/ iommu=pt pcie_aspm=off//' /boot/grub/grub.cfg; touch {GRUB_FILE}")
    machine.run("--check", **LATER).well(changed=2)
    machine.run(**LATER).well()
    assert all("iommu=pt" in menu for menu in machine.everywhere("cat /boot/grub/grub.cfg"))
    # Simulated: the reboot.
    machine.everywhere("echo 'root=/dev/sda1 ro quiet iommu=pt pcie_aspm=off' >/root/simulated/cmdline")
    machine.run(**LATER).well(changed=0)
    assert machine.everywhere(f"ls {Path(DUE).parent}") == ["", ""]


def test_a_file_of_others_that_overrules_the_arguments_is_named(machine: Bench) -> None:
    machine.everywhere(
        "echo 'GRUB_CMDLINE_LINUX_DEFAULT=quiet' >/etc/default/grub.d/99-other.cfg; rm /boot/grub/grub.cfg"
    )
    machine.everywhere("update-grub >/dev/null 2>&1")
    ended = machine.run(**LATER)
    machine.everywhere("rm /etc/default/grub.d/99-other.cfg")
    ended.refused("GRUB's menu does not have iommu=pt pcie_aspm=off. A file of /etc/default/grub.d that comes after")


def test_what_the_profile_drops_is_taken_away(machine: Bench) -> None:
    fewer = LATER | {"cpu_governor": "keep", "disable_acs": False, "arguments": ["iommu=pt"]}
    machine.run("--check", "--diff", **fewer).well()
    assert all("pcie_aspm=off" in menu for menu in machine.everywhere(f"cat /boot/grub/grub.cfg {GRUB_FILE}"))
    machine.run(**fewer).well()
    assert not any("pcie_aspm" in menu for menu in machine.everywhere("cat /boot/grub/grub.cfg"))
    said = "kernel arguments that were taken away: pcie_aspm=off"
    assert machine.everywhere(f"cat {DUE}") == [f"{said}\n"] * 2
    left = "ls /etc/systemd/system/*wants/boxwright* /etc/systemd/system/boxwright*.service /usr/local/sbin/"
    assert all("governor" not in names and "acs" not in names for names in machine.everywhere(left))
    machine.run(**fewer).well(changed=0)
    assert machine.everywhere(f"cat {DUE}") == [f"{said}\n"] * 2  # it still is so
    machine.run(memlock_unlimited=False).well()
    assert machine.everywhere(f"ls {GRUB_FILE} 2>/dev/null; grep -c iommu /boot/grub/grub.cfg; true") == ["0\n"] * 2
    assert not any("memlock" in text for text in machine.everywhere("cat /etc/security/limits.d/*"))
    machine.everywhere("echo 'root=/dev/sda1 ro quiet' >/root/simulated/cmdline")
    machine.run().well(changed=0)
    assert machine.everywhere(f"ls {Path(DUE).parent}") == ["", ""]


def test_without_grub_kernel_install_gets_the_arguments(machine: Bench) -> None:
    machine.everywhere("""rm /etc/default/grub; mkdir -p /boot/$(cat /etc/machine-id) /lib/modules/6.1.0-1-amd64
        echo 'root=/dev/sda1 ro quiet nomodeset' >/etc/kernel/cmdline""")
    options = "grep -h ^options /boot/loader/entries/*"
    wanted = {"arguments": ["iommu=pt", "nomodeset"]}
    machine.run("--check", **wanted).well()
    assert machine.everywhere("ls /boot/loader 2>/dev/null; true") == ["", ""]
    machine.run(**wanted).well()
    assert machine.everywhere("cat /etc/kernel/cmdline") == ["root=/dev/sda1 ro quiet nomodeset iommu=pt\n"] * 2
    assert all("quiet nomodeset iommu=pt" in text for text in machine.everywhere(options))
    assert all("iommu=pt" in text for text in machine.everywhere(f"cat {DUE}"))
    machine.run(**wanted).well(changed=0)
    # Killed before the entries were made: the record says so.
    machine.everywhere("sed -i 's/^iommu=pt$/iommu=pt pending/' /etc/boxwright/kernel-arguments; rm -r /boot/loader")
    machine.run(**wanted).well()
    assert all("iommu=pt" in text for text in machine.everywhere(options))
    machine.run().well()
    assert (
        machine.everywhere("cat /etc/kernel/cmdline") == ["root=/dev/sda1 ro quiet nomodeset\n"] * 2
    )  # not ours: stays
    assert not any("iommu=pt" in text for text in machine.everywhere(options))
    machine.run().well(changed=0)
