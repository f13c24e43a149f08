"""The role nvidia_driver on twins, with the real apt and gpg, and a simulated vendor's packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fresh_lab import fresh_lab

from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.lab.vendor_repository import KEY, build, nvidia_packages
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
OLD, RIGHT, NEW = "570.195.03-1", "580.95.05-1", "590.44.01-1"
SHELF = "/srv/simulated"


@dataclass
class Boxes:
    """Twins that look like an 8x4090, and how to run the role on them."""

    lab: Lab
    twins: list[RunningTwin]
    folder: Path
    variables: dict[str, Any] = field(default_factory=dict)

    def endpoint(self, twin: RunningTwin) -> Endpoint:
        return Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10)

    def on(self, twin: RunningTwin, command: str) -> str:
        return check(self.endpoint(twin), command)

    def everywhere(self, command: str) -> list[str]:
        return [self.on(twin, command) for twin in self.twins]

    def put(self, name: str, **settings: Any) -> dict[str, Any]:
        """A simulated repository on every twin, and how the role finds it."""
        shelf = self.folder / name
        shelf.mkdir()
        fingerprint = build(shelf, nvidia_packages([OLD, RIGHT, NEW]), **settings)
        for twin in self.twins:
            self.on(twin, f"mkdir -p {SHELF}")
            options = ["-q", "-r", "-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}"]
            subprocess.run(["scp", *options, str(shelf), f"root@{twin.address}:{SHELF}/"], check=True, timeout=60)
        place = f"file://{SHELF}/{name}"
        return {
            "uri": place,
            "suite": "./",
            "components": [],
            "key_url": f"{place}/{KEY}",
            "key_fingerprint": fingerprint,
        }

    def run(self, *arguments: str, **variables: Any) -> tuple[int, int, str]:
        """Exit code, changes and output of a five-line playbook."""
        hosts = {
            twin.name: {
                "ansible_host": twin.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(twin.key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={twin.known_hosts}",
                "ansible_python_interpreter": "/usr/bin/python3",
            }
            for twin in self.twins
        }
        inventory = self.folder / "inventory.json"
        named = {f"nvidia_driver_{name}": value for name, value in (self.variables | variables).items()}
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": named}}))
        playbook = self.folder / "play.yml"
        playbook.write_text("- hosts: all\n  gather_facts: false\n  roles:\n    - nvidia_driver\n")
        own = {"ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"), "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook, *arguments],
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        return done.returncode, sum(map(int, re.findall(r"changed=(\d+)", output))), " ".join(output.split())


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    hardware = load_profile("8x4090").hardware
    with fresh_lab("test-nvidia") as lab:
        twins = lab.up([TwinSpec("bookworm", "debian-12", hardware), TwinSpec("trixie", "debian-13", hardware)])
        found = Boxes(lab, twins, tmp_path_factory.mktemp("nvidia"))
        found.variables["repository"] = found.put("vendor")
        yield found


VERSIONS = (
    "dpkg-query -W -f '${db:Status-Status} ${Version}\\n' 'nvidia-*' 'libnvidia-*' libcuda1 | grep ^installed | sort -u"
)
TRACES = (
    "ls /etc/apt/sources.list.d /etc/apt/preferences.d /usr/share/keyrings/boxwright* /etc/modprobe.d 2>/dev/null; true"
)


def test_wrong_and_expired_keys_are_refused_and_leave_nothing(boxes: Boxes) -> None:
    before = boxes.everywhere(TRACES)
    right = boxes.variables["repository"]
    code, _, output = boxes.run(repository=right | {"key_fingerprint": "0" * 40})
    assert code == 2
    assert f"is not the key {'0' * 40}, but {right['key_fingerprint']}. Nothing was trusted." in output
    assert boxes.everywhere(TRACES) == before
    expired = boxes.put("expired", key_expires="seconds=1")
    code, _, output = boxes.run(repository=expired)
    assert code == 2
    assert f"The key {expired['key_fingerprint']} of file:///srv/simulated/expired has expired" in output
    assert "boxwright" not in boxes.on(boxes.twins[0], "ls /etc/apt/sources.list.d /etc/apt/preferences.d")


def test_a_dry_run_on_bare_machines_changes_nothing(boxes: Boxes) -> None:
    before = boxes.everywhere(TRACES)
    code, changes, output = boxes.run("--check", "--diff")
    assert (code, changes > 0) == (0, True), output[-3000:]
    assert boxes.everywhere(TRACES) == before


def test_the_branch_is_installed_held_and_then_left_alone(boxes: Boxes) -> None:
    code, _, output = boxes.run(fabric_manager=True, disable_hmm=True)
    assert code == 0, output[-3000:]
    assert "not provable in a container" in output
    assert boxes.everywhere(VERSIONS) == [f"installed {RIGHT}\n"] * 2  # not the repository's newest
    for held in boxes.everywhere("apt-mark showhold"):
        assert {"nvidia-driver-cuda", "nvidia-kernel-open-dkms", "libcuda1", "nvidia-fabricmanager"} <= set(
            held.split()
        )
    for proposal in boxes.everywhere("apt-get --simulate dist-upgrade"):
        assert "nvidia" not in "".join(line for line in proposal.splitlines() if line.startswith("Inst"))
    for services in boxes.everywhere("systemctl is-enabled nvidia-persistenced nvidia-fabricmanager"):
        assert services.split() == ["enabled", "enabled"]
    assert all("uvm_disable_hmm=1" in text for text in boxes.everywhere("cat /etc/modprobe.d/boxwright-nvidia.conf"))
    code, changes, output = boxes.run(fabric_manager=True, disable_hmm=True)
    assert (code, changes) == (0, 0), output[-3000:]
    code, changes, output = boxes.run("--check", fabric_manager=True, disable_hmm=True)
    assert (code, changes) == (0, 0), output[-3000:]


def test_a_lost_hold_and_a_lost_pin_are_put_back(boxes: Boxes) -> None:
    boxes.everywhere("apt-mark unhold libcuda1; rm /etc/apt/preferences.d/boxwright-nvidia")
    code, changes, output = boxes.run(fabric_manager=True, disable_hmm=True)
    assert (code, changes) == (0, 4), output[-3000:]
    assert all("libcuda1" in held for held in boxes.everywhere("apt-mark showhold"))


def test_libraries_of_another_version_are_refused(boxes: Boxes) -> None:
    boxes.everywhere(f"dpkg --force-all -i {SHELF}/vendor/libnvidia-ml1_{NEW}_amd64.deb")
    code, _, output = boxes.run(fabric_manager=True, disable_hmm=True)
    assert code == 2
    assert f"{RIGHT} is installed, and beside it libnvidia-ml1" in output
    boxes.everywhere(f"dpkg --force-all -i {SHELF}/vendor/libnvidia-ml1_{RIGHT}_amd64.deb")


def test_the_profile_decides_on_branch_and_flavour(boxes: Boxes) -> None:
    code, _, output = boxes.run(branch=590, flavour="closed", fabric_manager=True)
    assert code == 0, output[-3000:]
    assert boxes.everywhere(VERSIONS) == [f"installed {NEW}\n"] * 2
    modules = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' 'nvidia-kernel*' | grep ^installed"
    assert boxes.everywhere(modules) == ["installed nvidia-kernel-dkms\n"] * 2
    code, _, output = boxes.run(branch=570, fabric_manager=True)
    assert code == 0, output[-3000:]
    assert boxes.everywhere(VERSIONS) == [f"installed {OLD}\n"] * 2
    assert all("libcuda1" in held for held in boxes.everywhere("apt-mark showhold"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"branch": 610}, "has no driver of branch 610; it has"),
        ({"branch": 620, "flavour": "closed"}, "Branch 620 has open kernel modules only"),
        ({"flavour": "both"}, "must be one of"),
    ],
)
def test_what_cannot_be_is_refused(boxes: Boxes, variables: dict[str, Any], message: str) -> None:
    code, _, output = boxes.run(**variables)
    assert code == 2
    assert message in output


def test_a_driver_from_a_run_file_is_refused(boxes: Boxes) -> None:
    boxes.everywhere("printf '#!/bin/sh\\n' > /usr/bin/nvidia-uninstall; chmod +x /usr/bin/nvidia-uninstall")
    code, _, output = boxes.run()
    boxes.everywhere("rm /usr/bin/nvidia-uninstall")
    assert code == 2
    assert "Remove it first: /usr/bin/nvidia-uninstall --silent" in output
