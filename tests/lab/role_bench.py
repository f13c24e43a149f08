"""A bench for one role: twins, and runs of `ansible-playbook` with a playbook of five lines.

The first run is plain Ansible's, as in a house that takes one role and nothing else. Later ones go by Mitogen, as
Boxwright's own do, in two thirds of the processor time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fresh_lab import fresh_lab

from boxwright.engines.ansible.engine import mitogen_strategies
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.lab.vendors.repository import KEY, LABEL, Package, build
from boxwright.model.site import PackageRepository
from boxwright.transport.ssh import Endpoint, check, run

REPOSITORY = Path(__file__).parents[2]
SHELF = "/srv/simulated"  # of simulated repositories, on a twin
BY_MITOGEN = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(mitogen_strategies())}


@dataclass(frozen=True)
class Run:
    """How a run of ansible-playbook ended. `output` has each run of white space as one space."""

    code: int
    changed: int
    output: str

    def well(self, *, changed: int | None = None) -> Run:
        """Itself, when it went well and, if asked, changed this many resources over all twins."""
        assert self.code == 0, self.output[-6000:]
        assert changed in (None, self.changed), f"{self.changed} changes, not {changed}: {self.output[-6000:]}"
        return self

    def refused(self, message: str) -> Run:
        """Itself, when it failed with these words."""
        assert self.code == 2, self.output[-6000:]
        assert message in self.output, self.output[-6000:]
        return self


@dataclass
class Bench:
    """Twins, and how to run a role on all of them at once.

    `variables` are given to every run, by names without the role's prefix.
    """

    role: str
    lab: Lab
    twins: list[RunningTwin]
    folder: Path
    variables: dict[str, Any] = field(default_factory=dict)
    runs: int = 0

    def endpoint(self, twin: RunningTwin) -> Endpoint:
        """The way into a twin."""
        return Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10)

    def on(self, twin: RunningTwin, command: str, *, timeout_s: float = 300) -> str:
        """What a command prints; one that fails is an error."""
        return check(self.endpoint(twin), command, timeout_s=timeout_s)

    def code_of(self, twin: RunningTwin, command: str) -> int:
        """How a command ends, for one that may fail."""
        return run(self.endpoint(twin), command, timeout_s=300).code

    def everywhere(self, command: str) -> list[str]:
        """What a command prints on each twin."""
        return [self.on(twin, command) for twin in self.twins]

    def copy(self, source: Path, target: str) -> None:
        """Put a file or a folder on every twin."""
        for twin in self.twins:
            options = ["-q", "-r", "-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}"]
            subprocess.run(["scp", *options, str(source), f"root@{twin.address}:{target}"], check=True, timeout=60)

    def put_repository(
        self, name: str, packages: Iterable[Package], *, key_expires: str = "0", label: str = LABEL
    ) -> dict[str, Any]:
        """Make a simulated repository, put it on every twin, and say how a role finds it."""
        shelf = self.folder / name
        shelf.mkdir()
        fingerprint = build(shelf, packages, key_expires=key_expires, label=label)
        self.everywhere(f"mkdir -p {SHELF}")
        self.copy(shelf, f"{SHELF}/")
        place = f"file://{SHELF}/{name}"
        return PackageRepository(uri=place, key_url=f"{place}/{KEY}", key_fingerprint=fingerprint).model_dump(
            mode="json"
        )

    def run(self, *arguments: str, **variables: Any) -> Run:
        """Run the role on all twins by a playbook of five lines; `variables` go without the role's prefix."""
        hosts = {
            twin.name: {
                "ansible_host": twin.address,
                "ansible_user": twin.user,
                "ansible_ssh_private_key_file": str(twin.key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={twin.known_hosts}",
                "ansible_python_interpreter": "/usr/bin/python3",
            }
            for twin in self.twins
        }
        inventory, playbook = self.folder / "inventory.json", self.folder / "play.yml"
        named = {f"{self.role}_{name}": value for name, value in (self.variables | variables).items()}
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": named}}))
        playbook.write_text(f"- hosts: all\n  gather_facts: false\n  roles:\n    - {self.role}\n")
        own = {"ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"), "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1"}
        if self.runs:
            own |= BY_MITOGEN
        self.runs += 1
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook, *arguments],
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        output = done.stdout + done.stderr
        changed = sum(map(int, re.findall(r"changed=(\d+)", output)))
        return Run(done.returncode, changed, " ".join(output.split()))


@contextmanager
def role_bench(
    role: str, specs: Sequence[TwinSpec], folder: Path, *, packages: bool = False, lab_name: str = ""
) -> Iterator[Bench]:
    """Boot twins for a role.

    Args:
        role: Its name; the lab is called after it, or, where several files of tests are about it, by `lab_name`.
        specs: The twins.
        folder: For inventory and playbook.
        packages: Whether the twins reach Debian's packages, as role `base` would set them up to.
        lab_name: What the lab is called instead: files of tests run at the same time.
    """
    with fresh_lab(f"test-{lab_name or role.replace('_', '-')}") as lab:
        bench = Bench(role, lab, lab.up(specs), folder)
        if packages:
            bench.everywhere(
                f"echo 'Acquire::http::Proxy \"{lab.proxy_url}\";' > /etc/apt/apt.conf.d/80boxwright-proxy"
            )
            for authority in lab.ca_certificates:
                bench.copy(authority, f"/usr/local/share/ca-certificates/{authority.stem}.crt")
            bench.everywhere("update-ca-certificates >/dev/null 2>&1; apt-get -q update >/dev/null")
        yield bench
