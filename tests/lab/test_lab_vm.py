"""VM twins: a kernel of their own, resumed within seconds, rebooted for real, and provisioned as a whole.

Where KVM does not run VMs they are emulated, which takes about ten times as long: hence the deadlines here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from lab_command import Boxwright, Ran
from test_lab_twins import ssh, traces

from boxwright.errors import Exit, LabError
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.hardware import Accelerator, Cpu, Hardware
from boxwright.model.site import Mirrors
from boxwright.places import ROOT
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

LAB = "test-vms"
PLAIN = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
SERVER = Hardware(
    cpu=Cpu(sockets=2, cores_per_socket=32, threads_per_core=2),
    numa_nodes=2,
    memory_gib=512,
    accelerators=(Accelerator(name="NVIDIA H20", pci_id="10de:2329", count=8, memory_gib=96),),
    disk_gib=10,
)
BOOT_S = 300  # an emulated reboot takes 44 s on quiet cores
PROVISION_S = 5400
COMMAND_S = 300
BOX = "test-vm-box"
# Docker and its rules in a kernel of their own, and an argument of the kernel that only a reboot brings into force.
BEYOND_THE_LAB = """
container_runtime: {source: debian}
kernel: {arguments: [iommu=pt]}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fresh_lab(LAB) as lab:
        lab.up([TwinSpec("one", "debian-12", PLAIN, kind="vm"), TwinSpec("box", "debian-12", PLAIN)])
        yield lab


@pytest.fixture
def one(lab: Lab) -> RunningTwin:
    return lab.twin("one")


def test_a_vm_is_a_machine_of_its_own(one: RunningTwin) -> None:
    assert ssh(one, "systemd-detect-virt --container", check=False) == "none"
    assert ssh(one, "uname -r").endswith("cloud-amd64")
    assert ssh(one, "hostname") == "one"
    assert ssh(one, "systemctl is-system-running --wait") == "running"
    assert abs(int(ssh(one, "date +%s")) - time.time()) < 10
    assert "VM" in ssh(one, "cat /etc/boxwright-twin")
    assert "Starting" in ssh(one, "journalctl --boot --no-pager | head -2000"), "the journal of the boot went missing"


def test_kernel_modules_and_settings_are_the_vms_own(one: RunningTwin) -> None:
    before = Path("/proc/sys/vm/swappiness").read_text()
    ssh(one, "modprobe dummy && ip link add dummy0 type dummy && ip link delete dummy0")
    ssh(one, "sysctl --write vm.swappiness=7")
    assert ssh(one, "cat /proc/sys/vm/swappiness") == "7"
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    ssh(one, "nft add table inet probe && nft list table inet probe && nft delete table inet probe")


def test_vms_and_containers_of_a_lab_reach_each_other_and_the_proxy(one: RunningTwin, lab: Lab) -> None:
    ssh(one, f"ping -c 1 -W 5 {lab.twin('box').address}")
    assert ssh(one, f"apt-get -q -o Acquire::http::Proxy={lab.proxy_url} update && echo updated").endswith("updated")
    assert ssh(one, "curl --max-time 20 --silent http://192.0.2.1 || echo unreachable") == "unreachable"


def test_another_vm_goes_on_within_seconds_and_shares_nothing_that_must_differ(one: RunningTwin, lab: Lab) -> None:
    began = time.monotonic()
    (two,) = lab.up([TwinSpec("two", "debian-12", PLAIN, kind="vm")])
    seconds = time.monotonic() - began
    for question in (
        "cat /etc/machine-id",
        "cat /sys/class/net/eth0/address",
        "head --bytes=16 /dev/urandom | base64",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
    ):
        assert ssh(one, question) != ssh(two, question), question
    lab.down(["two"])
    assert seconds < 60, "took as long as a boot"


def test_a_reboot_is_real_and_keeps_the_disk(one: RunningTwin, lab: Lab) -> None:
    ssh(one, "touch /kept && sync")
    boot = ssh(one, "cat /proc/sys/kernel/random/boot_id")
    ssh(one, "systemctl reboot", check=False)
    await_new_boot(one, boot)
    ssh(one, "test -e /kept")
    assert ssh(one, "systemctl is-system-running --wait") == "running"
    assert abs(int(ssh(one, "date +%s")) - time.time()) < 10


def test_a_vm_that_powered_off_is_stopped_and_boots_its_disk(one: RunningTwin, lab: Lab) -> None:
    ssh(one, "touch /survives && systemctl poweroff", check=False)
    deadline = time.monotonic() + BOOT_S
    while {status.name: status.state for status in lab.status()}["one"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    with pytest.raises(LabError, match="not running"):
        lab.twin("one")
    lab.up([TwinSpec("one", "debian-12", PLAIN, kind="vm")])
    ssh(lab.twin("one"), "test -e /survives")


def test_a_server_shows_its_nodes_and_its_cards(lab: Lab) -> None:
    (server,) = lab.up([TwinSpec("server", "debian-12", SERVER, kind="vm")])
    assert ssh(server, "lspci -n -d 10de:").count("0302: 10de:2329") == 8
    assert "node 1 size: 262144 MB" in ssh(server, "numactl -H")
    assert "Simulated" in ssh(server, "cat /etc/boxwright-twin")
    # What the kernel itself found, below the view: two nodes as the firmware of the VM told them.
    assert "ACPI: SRAT: Node 1 PXM 1" in ssh(server, "journalctl --boot --dmesg --no-pager")
    lab.down(["server"])


def test_a_vm_is_not_a_container(lab: Lab) -> None:
    with pytest.raises(LabError, match="exists as a vm"):
        lab.up([TwinSpec("one", "debian-12", PLAIN)])


def test_down_leaves_nothing_of_a_vm() -> None:
    name = f"{LAB}-gone"
    lab = Lab(name, mirrors=Mirrors(), progress=lambda step: sys.stderr.write(f"{step}\n"))
    lab.up([TwinSpec("one", "debian-12", PLAIN, kind="vm")])
    assert traces(name)
    lab.down()
    assert traces(name) == []


@pytest.mark.timeout(2 * PROVISION_S)
def test_the_lab_profile_is_provisioned_on_a_vm_that_reboots_and_runs_docker(
    boxwright: Boxwright, tmp_path: Path
) -> None:
    site, profile = tmp_path / "site.yml", tmp_path / "lab-docker.yml"
    site.write_text(f"name: {BOX}\ntwin: {{distribution: debian-12, kind: vm}}\nhosts: [{{name: {BOX}-1}}]\n")
    lab = (ROOT / "inventories/profiles/lab.yml").read_text()
    profile.write_text(lab.replace("name: lab", "name: lab-docker") + BEYOND_THE_LAB)
    patient = Boxwright(boxwright.environment, patience_s=PROVISION_S)
    words = ("--profile", str(profile), "--site", str(site))
    try:
        first = patient("provision", *words, "--yes")
        tell(first)
        assert first.code == Exit.OK, first.text[-3000:]
        assert "clock.alone" in {one["id"] for one in first.kind("check") if one["result"] == "pass"}
        shell = shell_of(boxwright, site)
        assert "iommu=pt" in check(shell, "cat /proc/cmdline").split(), "it was not rebooted with the argument"
        the_kernel_filters(shell)
        docker_runs_within_its_limits(shell)
        again = patient("plan", *words)
        assert again.code == Exit.OK, again.text[-3000:]
    finally:
        boxwright("lab.down", "--site", str(site))


def tell(ran: Ran) -> None:
    """Print how long each stage took: docs/verbs/lab.md gives these figures."""
    for line in ran.kind("handover"):
        sys.stderr.write(f"{line['stage_seconds']}\n")


def shell_of(boxwright: Boxwright, site: Path) -> Endpoint:
    (twin,) = boxwright("lab.status", "--site", str(site)).kind("twin")
    lab = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", BOX)
    return Endpoint(twin["name"], twin["address"], 22, "root", lab / "id_ed25519", lab / "known_hosts", 30)


def the_kernel_filters(shell: Endpoint) -> None:
    rules = check(shell, "nft list ruleset", timeout_s=COMMAND_S)
    assert "policy drop" in rules
    assert "nf_tables" in check(shell, "cat /proc/modules"), "the rules are in somebody else's kernel"


def docker_runs_within_its_limits(shell: Endpoint) -> None:
    """A container with a limit of memory, which the kernel of a container twin may not keep."""
    check(
        shell,
        "apt-get install -y -qq busybox-static >/dev/null 2>&1;"
        " cp /bin/busybox /root/busybox && tar -C /root -c busybox | docker import - probe >/dev/null",
        timeout_s=COMMAND_S,
    )
    limit = "docker run --rm --memory 64m probe /busybox cat /sys/fs/cgroup/memory.max"
    assert check(shell, limit, timeout_s=COMMAND_S).strip() == str(64 << 20)


def await_new_boot(twin: RunningTwin, boot: str) -> None:
    deadline = time.monotonic() + BOOT_S
    while (now := ssh(twin, "cat /proc/sys/kernel/random/boot_id", check=False)) == boot or len(now) != 36:
        assert time.monotonic() < deadline, "no ssh after the reboot"
        time.sleep(1)
