"""The roles base, kernel and firewall on twins of both distributions, from bare host to drift and lock-out.

The dry run of a bare host and the first run are plain Ansible's; later ones go by Mitogen, as Boxwright's own do.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fresh_lab import fresh_lab
from role_bench import BY_MITOGEN

from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.hardware import Cpu, Hardware

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
EVERYWHERE = ["0.0.0.0/0", "::/0"]
ROLES = ("base", "kernel", "firewall")
PLAIN_RUNS = 2
NOWHERE = ["192.0.2.0/24", "2001:db8::/32"]  # reserved for documentation: the controller is never there


def service(name: str, port: int, sources: list[str]) -> dict[str, Any]:
    return {"name": name, "ports": [port], "protocol": "tcp", "sources": sources}


@dataclass
class Run:
    """How a run of ansible-playbook ended."""

    status: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))

    def succeeded(self) -> Run:
        assert self.status == 0, self.output[-6000:]
        return self


class Boxes:
    """Twins, the variables of their roles, and how to run roles on them."""

    def __init__(self, lab: Lab, twins: list[RunningTwin], folder: Path) -> None:
        self.lab = lab
        self.twins = twins
        self.folder = folder
        self.runs = 0
        self.variables: dict[str, Any] = {
            "base_proxy": lab.proxy_url,
            "base_no_proxy": ["mirror.example.org"],
            "base_ca_certificates": [
                {"name": path.stem, "pem": path.read_text()} for path in (*lab.ca_certificates, self.authority())
            ],
            "base_ntp_servers": ["ntp.example.org"],
            "base_operators": [{"name": "ada", "ssh_public_keys": [self.public_key()]}],
            "base_timezone": "Europe/Berlin",
            "base_hostname": "{{ inventory_hostname }}-1",
            "base_packages": ["jq"],
            "kernel_nofile_limit": 8192,  # a container gets no more than its host lets it have
            "firewall_services": [service("ssh", 22, EVERYWHERE), service("web", 8443, NOWHERE)],
            "firewall_revert_after_s": 15,
            "firewall_log_drops": True,
        }

    def authority(self) -> Path:
        path = self.folder / "test-authority.crt"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        command += [
            "-keyout",
            str(self.folder / "ca.key"),
            "-out",
            str(path),
            "-subj",
            "/CN=Boxwright test",
            "-days",
            "9",
        ]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def public_key(self) -> str:
        key = self.folder / "ada"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        return key.with_suffix(".pub").read_text().strip()

    def key(self, twin: RunningTwin, user: str) -> Path:
        return twin.key if user == "root" else self.folder / user

    def ssh_options(self, twin: RunningTwin) -> list[str]:
        return [
            "-o",
            f"UserKnownHostsFile={twin.known_hosts}",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
        ]

    def ssh(self, twin: RunningTwin, command: str, *, user: str = "root", check: bool = True) -> str:
        """Run a command over a connection of its own."""
        argv = [
            "ssh",
            *self.ssh_options(twin),
            "-o",
            "ConnectTimeout=5",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            str(self.key(twin, user)),
        ]
        done = subprocess.run(
            [*argv, f"{user}@{twin.address}", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *roles: str, arguments: tuple[str, ...] = (), user: str = "root", **variables: Any) -> Run:
        """Run roles on every twin, by sudo as anybody but root; tasks share a connection, as they do in a real run."""
        hosts = {
            twin.name: {
                "ansible_host": twin.address,
                "ansible_user": user,
                "ansible_become": user != "root",
                "ansible_ssh_private_key_file": str(self.key(twin, user)),
                "ansible_ssh_common_args": " ".join(self.ssh_options(twin)),
                "ansible_python_interpreter": "/usr/bin/python3",
            }
            for twin in self.twins
        }
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": self.variables | variables}}))
        playbook = self.folder / "play.json"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": list(roles)}]))
        environment = os.environ | {
            "ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_NOCOLOR": "1",
            **(BY_MITOGEN if self.runs >= PLAIN_RUNS else {}),
        }
        self.runs += 1
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(inventory),
            str(playbook),
        ]
        started = time.monotonic()
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        return Run(done.returncode, done.stdout + done.stderr, time.monotonic() - started)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with fresh_lab("test-machine") as lab:
        twins = lab.up([TwinSpec("bookworm", "debian-12", HARDWARE), TwinSpec("trixie", "debian-13", HARDWARE)])
        yield Boxes(lab, twins, tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def dry_run(bare: Boxes) -> Run:
    return bare.run(*ROLES, arguments=("--check", "--diff"))


@pytest.fixture(scope="module")
def boxes(bare: Boxes, dry_run: Run) -> Boxes:
    """The twins after the first run."""
    bare.run(*ROLES).succeeded()
    return bare


def test_dry_run_of_a_bare_host_lists_changes_and_makes_none(bare: Boxes, dry_run: Run) -> None:
    dry_run.succeeded()
    assert dry_run.changed > 20
    for twin in bare.twins:
        left = bare.ssh(
            twin,
            "ls -d /etc/nftables.d /etc/apt/apt.conf.d/*boxwright* /etc/sysctl.d/*boxwright*",
            check=False,
        )
        assert left == ""
        assert bare.ssh(twin, "nft list tables") == ""


def test_second_run_changes_nothing(boxes: Boxes) -> None:
    second = boxes.run(*ROLES).succeeded()
    assert second.changed == 0, second.output[-6000:]


def test_base_is_in_force(boxes: Boxes) -> None:
    for twin in boxes.twins:
        assert boxes.lab.proxy_url in boxes.ssh(twin, "apt-config dump Acquire::http::Proxy")
        assert boxes.ssh(twin, "bash -lc 'echo $https_proxy'") == boxes.lab.proxy_url
        assert "mirror.example.org" in boxes.ssh(twin, "bash -lc 'echo $no_proxy'")
        verify = "openssl verify /usr/local/share/ca-certificates/boxwright-test-authority.crt"
        assert boxes.ssh(twin, verify).endswith(": OK")
        assert boxes.ssh(twin, "hostname; cat /etc/hostname").split() == [f"{twin.name}-1"] * 2
        assert boxes.ssh(twin, "date +%Z -d 2026-01-01") == "CET"
        assert boxes.ssh(twin, "jq -n 1+1") == "2"
        assert boxes.ssh(twin, "systemctl is-enabled systemd-timesyncd unattended-upgrades").split() == ["enabled"] * 2
        blocked = boxes.ssh(twin, "apt-config dump Unattended-Upgrade::Package-Blacklist")
        assert '"nvidia-"' in blocked
        origins = boxes.ssh(twin, "unattended-upgrade --dry-run --debug 2>&1 | grep 'Allowed origins'")
        assert "label=Debian-Security" in origins
        assert all("security" in origin for origin in origins.split("origin=")[1:])
        assert boxes.ssh(twin, "sudo -n id -u", user="ada") == "0"


def test_a_machine_finds_itself_by_its_new_name_alone_and_a_hosts_line_of_somebodys_stays(boxes: Boxes) -> None:
    for twin in boxes.twins:
        assert boxes.ssh(twin, "grep ^127.0.1.1 /etc/hosts") == f"127.0.1.1\t{twin.name}-1"
        assert boxes.ssh(twin, "sudo -n true 2>&1", user="ada") == ""  # it tells of a name that it cannot resolve
        boxes.ssh(twin, "sed -i 's/^127.0.1.1.*/127.0.1.1 old.example.org old/' /etc/hosts; hostname old")
    boxes.run("base").succeeded()
    for twin in boxes.twins:
        line = f"127.0.1.1\t{twin.name}-1.example.org {twin.name}-1"
        assert boxes.ssh(twin, "hostname; grep ^127.0.1.1 /etc/hosts").splitlines() == [f"{twin.name}-1", line]
        assert boxes.ssh(twin, "sudo -n hostname -f 2>&1", user="ada") == f"{twin.name}-1.example.org"
        boxes.ssh(twin, f"sed -i 's/^127.0.1.1.*/{twin.address} {twin.name}-1/' /etc/hosts")
    assert boxes.run("base").succeeded().changed == 0
    assert "'Two words' is not of lower-case" in boxes.run("base", base_hostname="Two words").output


def test_kernel_settings_reach_sessions_and_services(boxes: Boxes) -> None:
    for twin in boxes.twins:
        assert boxes.ssh(twin, "sysctl -n vm.swappiness vm.max_map_count net.core.somaxconn").split() == [
            "10",
            "1048576",
            "4096",
        ]
        assert boxes.ssh(twin, "ulimit -Hn; ulimit -Sn").split() == ["8192"] * 2
        assert boxes.ssh(twin, "ulimit -n", user="ada") == "8192"
        assert boxes.ssh(twin, "systemd-run --quiet --pipe --wait sh -c 'ulimit -n'") == "8192"
        assert "madvise" in boxes.ssh(twin, "cat /sys/kernel/mm/transparent_hugepage/enabled")


def test_drift_is_shown_by_a_dry_run_and_put_right_by_a_run(boxes: Boxes) -> None:
    for twin in boxes.twins:
        boxes.ssh(twin, "sysctl -q -w vm.swappiness=60; nft add rule inet boxwright input tcp dport 9 accept")
        boxes.ssh(twin, "echo never >/sys/kernel/mm/transparent_hugepage/enabled")
    shown = boxes.run("kernel", "firewall", arguments=("--check",)).succeeded()
    assert shown.changed == 4, shown.output[-6000:]  # the kernel and the rules of two boxes
    boxes.run("kernel", "firewall").succeeded()
    for twin in boxes.twins:
        assert boxes.ssh(twin, "sysctl -n vm.swappiness") == "10"
        assert "madvise" in boxes.ssh(twin, "cat /sys/kernel/mm/transparent_hugepage/enabled")
        assert "dport 9 " not in boxes.ssh(twin, "nft list table inet boxwright")
    assert boxes.run("kernel", "firewall").succeeded().changed == 0


def test_the_kernel_role_refuses_what_would_not_hold(boxes: Boxes) -> None:
    absent = boxes.run("kernel", kernel_sysctls={"vm.no_such_setting": 1})
    assert absent.status == 2
    assert "/proc/sys/vm/no_such_setting" in absent.output
    above = boxes.run("kernel", kernel_nofile_limit=3_000_000_000)
    assert above.status == 2
    assert "fs.nr_open" in above.output
    for twin in boxes.twins:
        assert "3000000000" not in boxes.ssh(twin, "cat /etc/security/limits.d/90-boxwright.conf")


def test_only_listed_services_answer_and_only_to_their_sources(boxes: Boxes) -> None:
    for twin in boxes.twins:
        for port in (8443, 8444):  # listed for another network, and not listed
            boxes.ssh(twin, f"systemd-run --quiet --unit=listen-{port} python3 -m http.server {port}")
            assert not answers(twin.address, port)
        boxes.ssh(twin, "nft add table ip somebody_else")
    boxes.run(
        "firewall", firewall_services=[service("ssh", 22, EVERYWHERE), service("web", 8443, EVERYWHERE)]
    ).succeeded()
    for twin in boxes.twins:
        assert answers(twin.address, 8443)
        assert not answers(twin.address, 8444)
        assert "somebody_else" in boxes.ssh(twin, "nft list tables")
    boxes.run("firewall", user="ada").succeeded()


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except TimeoutError:
        return False
    return True


def test_rules_that_lock_the_controller_out_are_taken_back(boxes: Boxes) -> None:
    before = [boxes.ssh(twin, "nft -s list ruleset; cat /etc/nftables.d/boxwright.nft") for twin in boxes.twins]
    run = boxes.run("firewall", firewall_services=[service("ssh", 22, NOWHERE)], firewall_revert_after_s=10)
    assert run.status == 2
    assert "were taken back" in run.output
    assert run.seconds < 120  # it does not wait for what never answers
    after = [boxes.ssh(twin, "nft -s list ruleset; cat /etc/nftables.d/boxwright.nft") for twin in boxes.twins]
    assert after == before
    assert boxes.run("firewall").succeeded().changed == 0


@pytest.mark.on_demand
def test_a_run_that_died_in_the_middle_of_a_trial_is_made_good(boxes: Boxes) -> None:
    """The next run comes while the trial's timer still ticks, and must not take the trial for the former rules."""
    wider = "sed s/192.0.2.0/198.51.100.0/ /etc/nftables.d/boxwright.nft >/run/wider.nft"
    for twin in boxes.twins:
        boxes.ssh(twin, f"{wider} && boxwright-firewall try /run/wider.nft 300")
        assert "198.51.100.0" in boxes.ssh(twin, "nft list table inet boxwright")
    boxes.run("firewall").succeeded()
    for twin in boxes.twins:
        assert "198.51.100.0" not in boxes.ssh(twin, "nft list table inet boxwright")
        assert boxes.ssh(twin, "systemctl list-units --all --plain --no-legend 'boxwright-firewall-revert*'") == ""
    assert boxes.run("firewall").succeeded().changed == 0


@pytest.mark.on_demand
def test_a_dry_run_after_a_reboot_finds_nothing_to_change(boxes: Boxes) -> None:
    for twin in boxes.twins:
        boot = boxes.ssh(twin, "cat /proc/sys/kernel/random/boot_id")
        boxes.ssh(twin, "systemctl reboot", check=False)
        deadline = time.monotonic() + 60
        while boxes.ssh(twin, "cat /proc/sys/kernel/random/boot_id", check=False) in ("", boot):
            assert time.monotonic() < deadline, f"{twin.name} did not come back"
            time.sleep(0.5)
    again = boxes.run(*ROLES, arguments=("--check", "--diff")).succeeded()
    assert again.changed == 0, again.output[-6000:]
    for twin in boxes.twins:
        assert "policy drop" in boxes.ssh(twin, "nft list table inet boxwright")


def test_what_is_no_longer_wanted_is_removed(boxes: Boxes) -> None:
    boxes.run("base", base_proxy=None, base_ca_certificates=[], base_operators=[]).succeeded()
    for twin in boxes.twins:
        assert boxes.ssh(twin, "apt-config dump Acquire::http::Proxy") == ""
        assert boxes.ssh(twin, "ls /usr/local/share/ca-certificates") == ""
        assert boxes.ssh(twin, "ls /etc/ssl/certs | grep -c boxwright", check=False) == "0"
        assert boxes.ssh(twin, "sudo -n id -u", user="ada", check=False) == ""  # the account stays, its rights go
    assert (
        "account of their own" in boxes.run("base", base_operators=[{"name": "root", "ssh_public_keys": ["x"]}]).output
    )
