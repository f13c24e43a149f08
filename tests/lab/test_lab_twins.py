"""Twins on this machine: real systemd, sshd, apt and kernel, for both distributions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_lab import fresh_lab

from boxwright.errors import BadInputError, LabError
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.hardware import Accelerator, Cpu, Hardware
from boxwright.model.site import Mirrors

pytestmark = pytest.mark.lab

LAB = "test-twins"
SERVER = Hardware(
    cpu=Cpu(sockets=2, cores_per_socket=8, threads_per_core=2),
    numa_nodes=2,
    memory_gib=256,
    accelerators=(Accelerator(name="NVIDIA H20", pci_id="10de:2329", count=2, memory_gib=96),),
    disk_gib=10,
)
PLAIN = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=8, disk_gib=10)
SPECS = (
    TwinSpec("bookworm", "debian-12", SERVER),
    TwinSpec("trixie", "debian-13", SERVER),
    TwinSpec("small", "debian-12", PLAIN, disk_mib=32),
)


def a_lab(name: str = LAB) -> Lab:
    return Lab(name, mirrors=Mirrors(), progress=lambda step: sys.stderr.write(f"{step}\n"))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fresh_lab(LAB) as lab:
        lab.up(SPECS)
        yield lab


@pytest.fixture(params=["bookworm", "trixie"])
def twin(lab: Lab, request: pytest.FixtureRequest) -> RunningTwin:
    return lab.twin(request.param)


def ssh(twin: RunningTwin, command: str, *, check: bool = True) -> str:
    options = [
        *("-F", "none", "-i", str(twin.key), "-p", str(twin.port), "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={twin.known_hosts}"),
        *("-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=5"),
    ]
    done = subprocess.run(
        ["ssh", *options, f"{twin.user}@{twin.address}", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return (done.stdout + ("" if check else done.stderr)).strip()


def traces(lab: str) -> list[str]:
    """Everything on the controller that bears the name of a lab, or has its address."""
    named = [str(path) for path in Path("/run/netns").glob(f"boxwright.{lab}*")]
    named += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/boxwright/{lab}")]
    named += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/lab/{lab}/" in line]
    state = Path(os.environ.get("BOXWRIGHT_STATE") or "/var/lib/boxwright") / "lab" / lab
    named += [str(state)] if state.exists() else []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"/lab/{lab}/" in command:
            named.append(command)
    return named


def test_a_twin_boots_cleanly_and_is_the_distribution(twin: RunningTwin) -> None:
    assert ssh(twin, "systemctl is-system-running --wait") == "running"
    assert twin.distribution.removeprefix("debian-") in ssh(twin, "cat /etc/debian_version")
    assert ssh(twin, "hostname") == twin.name
    assert "Simulated" in ssh(twin, "cat /etc/boxwright-twin")


def test_tools_show_the_machine_of_the_profile(twin: RunningTwin) -> None:
    assert ssh(twin, "lspci -n -d 10de:").count("0302: 10de:2329") == 2
    lscpu = ssh(twin, "lscpu")
    for label, value in {"Socket(s)": 2, "Core(s) per socket": 8, "CPU(s)": 32, "NUMA node(s)": 2}.items():
        assert any(line.split() == [*f"{label}:".split(), str(value)] for line in lscpu.splitlines()), label
    assert "node 1 size: 131072 MB" in ssh(twin, "numactl -H")


def test_a_plain_machine_shows_no_cards_and_one_node(lab: Lab) -> None:
    small = lab.twin("small")
    assert ssh(small, "lspci") == ""
    assert "available: 1 nodes (0)" in ssh(small, "numactl -H")


def test_kernel_settings_stay_in_the_twin_and_read_back(twin: RunningTwin, lab: Lab) -> None:
    files = ("/proc/sys/vm/swappiness", "/sys/kernel/mm/transparent_hugepage/enabled")
    before = [Path(file).read_text() for file in files]
    assert ssh(twin, "sysctl -w vm.swappiness=100 && sysctl -w vm.swappiness=7 && sysctl -n vm.swappiness").endswith(
        "7"
    )
    ssh(twin, "printf 'vm.swappiness=5\\n' >/etc/sysctl.d/t.conf && systemctl restart systemd-sysctl")
    assert ssh(twin, "cat /proc/sys/vm/swappiness") == "5"
    assert ssh(twin, f"echo never > {files[1]} && cat {files[1]}") == "always madvise [never]"
    assert "Invalid argument" in ssh(twin, "sysctl -w vm.swappiness=much", check=False)
    assert ssh(lab.twin("small"), "cat /proc/sys/vm/swappiness").strip() == before[0].strip()
    assert [Path(file).read_text() for file in files] == before


def test_packages_come_through_the_proxy_only(twin: RunningTwin, lab: Lab) -> None:
    assert ssh(twin, f"apt-get -q -o Acquire::http::Proxy={lab.proxy_url} update && echo updated").endswith("updated")
    began = time.monotonic()
    direct = ssh(twin, "apt-get -q -o Acquire::http::Proxy=DIRECT -o APT::Update::Error-Mode=any update", check=False)
    assert "E:" in direct
    assert time.monotonic() - began < 30  # fails at once instead of hanging


def test_a_reboot_is_a_new_boot_of_the_same_disk(twin: RunningTwin) -> None:
    ssh(twin, "touch /kept && sync && sysctl -w kernel.panic=9 && rm -f /etc/sysctl.d/t.conf")
    boot = ssh(twin, "cat /proc/sys/kernel/random/boot_id")
    ssh(twin, "systemctl reboot", check=False)
    deadline = time.monotonic() + 30
    while (after := ssh(twin, "cat /proc/sys/kernel/random/boot_id", check=False)) == boot or len(after) != 36:
        assert time.monotonic() < deadline, "no ssh after the reboot"
        time.sleep(0.1)
    assert ssh(twin, "test -e /kept && sysctl -n kernel.panic") != "9"


def test_a_small_disk_is_full_and_the_others_are_not(lab: Lab) -> None:
    small = lab.twin("small")
    assert "No space left" in ssh(small, "head -c 64M /dev/zero >/full", check=False)
    ssh(small, "rm /full")
    ssh(lab.twin("bookworm"), "head -c 64M /dev/zero >/full && rm /full")


def test_up_again_keeps_what_runs_and_refuses_what_differs(lab: Lab) -> None:
    boots = [ssh(lab.twin(spec.name), "cat /proc/sys/kernel/random/boot_id") for spec in SPECS]
    lab.up(SPECS)
    assert [ssh(lab.twin(spec.name), "cat /proc/sys/kernel/random/boot_id") for spec in SPECS] == boots
    with pytest.raises(LabError, match="another distribution"):
        lab.up([TwinSpec("small", "debian-13", PLAIN)])


def test_a_twin_that_powered_off_is_stopped_and_starts_with_its_disk(lab: Lab) -> None:
    twin = lab.twin("trixie")
    ssh(twin, "touch /survives && systemctl poweroff", check=False)
    deadline = time.monotonic() + 30
    while {s.name: s.state for s in lab.status()}["trixie"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(LabError, match="not running"):
        lab.twin("trixie")
    lab.up(SPECS)
    ssh(lab.twin("trixie"), "test -e /survives")


def test_status_tells_names_addresses_and_memory(lab: Lab) -> None:
    told = {status.name: status for status in lab.status()}
    assert set(told) == {"bookworm", "trixie", "small"}
    assert all(status.state == "running" for status in told.values())
    assert all(5 << 20 < status.memory_bytes < 500 << 20 for status in told.values())
    assert len({status.address for status in told.values()}) == 3


def test_names_are_checked_before_anything_is_touched(lab: Lab) -> None:
    with pytest.raises(BadInputError, match="Did you mean 'trixie'"):
        lab.twin("trixi")
    with pytest.raises(BadInputError):
        lab.down(["absent"])
    with pytest.raises(BadInputError, match="same name"):
        lab.up([SPECS[0], SPECS[0]])


def test_two_commands_at_once_make_each_twin_once() -> None:
    name = f"{LAB}-both"
    try:
        commands = [start_up(name, ("one", "two")) for _ in range(2)]
        assert [command.wait(timeout=120) for command in commands] == [0, 0]
        assert [status.state for status in a_lab(name).status()] == ["running", "running"]
    finally:
        a_lab(name).down()
    assert traces(name) == []


@pytest.mark.parametrize("seconds", [0.45, 0.6, 0.8, 1.1])
def test_a_killed_up_is_finished_by_the_next_or_removed(seconds: float) -> None:
    name = f"{LAB}-killed"
    try:
        killed = start_up(name, ("one", "two"))
        time.sleep(seconds)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        twins = a_lab(name).up([TwinSpec(twin, "debian-12", PLAIN) for twin in ("one", "two", "three")])
        assert [ssh(twin, "hostname") for twin in twins] == ["one", "two", "three"]
        killed = start_up(name, ("four",))
        time.sleep(seconds)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    finally:
        a_lab(name).down()
    assert traces(name) == []


def test_eight_twins_come_up_together() -> None:
    name = f"{LAB}-eight"
    try:
        began = time.monotonic()
        twins = a_lab(name).up([TwinSpec(f"t{number}", "debian-12", PLAIN) for number in range(8)])
        seconds = time.monotonic() - began
        assert len({ssh(twin, "cat /etc/machine-id") for twin in twins}) == 8
        a_lab(name).down([twin.name for twin in twins[:7]])
        assert ssh(twins[7], "hostname") == "t7"
    finally:
        a_lab(name).down()
    assert traces(name) == []
    assert seconds < 60


def test_down_leaves_nothing() -> None:
    name = f"{LAB}-gone"
    firewall = rules()
    lab = a_lab(name)
    lab.up([TwinSpec("one", "debian-12", PLAIN)])
    assert traces(name)
    lab.down()
    lab.down()
    assert traces(name) == []
    assert rules() == firewall


def rules() -> list[str]:
    """What the controller's firewall has, but for the counters and the date that iptables-save adds."""
    said = subprocess.run(
        ["sh", "-c", "iptables-save; nft --stateless list ruleset"], capture_output=True, text=True, check=False
    ).stdout
    return [line.partition(" [")[0] for line in said.splitlines() if not line.startswith("#")]


def start_up(lab: str, twins: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Another process that brings twins up."""
    code = (
        "import sys\n"
        "from boxwright.lab import Lab, TwinSpec\n"
        "from boxwright.model.hardware import Cpu, Hardware\n"
        "from boxwright.model.site import Mirrors\n"
        "plain = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=8, disk_gib=10)\n"
        "lab = Lab(sys.argv[1], mirrors=Mirrors(), progress=lambda step: None)\n"
        "lab.up([TwinSpec(name, 'debian-12', plain) for name in sys.argv[2:]])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, lab, *twins])
