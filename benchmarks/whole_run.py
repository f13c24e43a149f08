"""Whole runs of the lab profile: Boxwright against plain `ansible-playbook` and plain `pyinfra` doing the same work.

    python benchmarks/whole_run.py [--hosts 1] [--runs 5]

Boots container twins and provisions them from nothing by `./invoke provision`, then times in turn runs in which
nothing is left to do: Boxwright's (without verification, which the others do not have), and the same roles and
deploys with the same variables by the two plain commands, one after the other, each with as many forks as there are
hosts. Watches the memory of the controller's processes meanwhile. Prints a table; needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Memory

from boxwright.engines.ansible.inventory import host_inventory
from boxwright.model.variables import named
from boxwright.planning.stages import stages_of
from boxwright.provisioning.target import Choice, Target, choose, prepare

REPO = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SITE = "bench-whole"


@dataclass(frozen=True)
class Contestants:
    """The commands, ready to run; each leaves the hosts as they are."""

    target: Target
    site: Path
    folder: Path
    environment: dict[str, str]

    def boxwright(self, *words: str) -> None:
        """`./invoke provision`."""
        argv = [BIN / "invoke", "provision", "--profile", "lab", "--site", str(self.site), "--yes", *words]
        _well(argv, self.environment)

    def ours(self) -> None:
        """All stages; naming them leaves verification out."""
        self.boxwright("--stages", ",".join(stage.name for stage in stages_of(self.target.fleet)))

    def ansible(self) -> None:
        """Ansible's own strategy; pipelining as any fleet of some size has it."""
        inventory = self.folder / "inventory.json"
        hosts: dict[str, object] = {}
        roles = [stage.name for stage in stages_of(self.target.fleet) if stage.engine == "ansible"]
        for host in self.target.fleet.hosts:
            variables, _ = self.target.variables(host)
            hosts |= host_inventory(self.target.endpoint(host), variables, roles)["all"]["hosts"]
        _private(inventory, json.dumps({"all": {"hosts": hosts}}))
        own = {"ANSIBLE_ROLES_PATH": str(REPO / "roles"), "ANSIBLE_PIPELINING": "1", "ANSIBLE_FORKS": str(len(hosts))}
        playbook = REPO / "boxwright/engines/ansible/platform.yml"
        _well([BIN / "ansible-playbook", "-i", inventory, playbook], self.environment | own)

    def pyinfra(self) -> None:
        """The deploys in one command."""
        rows = []
        for host in self.target.fleet.hosts:
            endpoint = self.target.endpoint(host)
            _, variables = self.target.variables(host)
            data = {
                "ssh_hostname": endpoint.address,
                "ssh_port": endpoint.port,
                "ssh_user": endpoint.user,
                "ssh_key": str(endpoint.key),
                "ssh_known_hosts_file": str(endpoint.known_hosts),
                "ssh_strict_host_key_checking": "yes",
            } | {key: value for unit in variables for key, value in named(unit).items()}
            rows.append((host.name, data))
        inventory = self.folder / "inventory.py"
        _private(inventory, f"hosts = {rows!r}\n")
        deploys = [f"deploys/{s.name}.py" for s in stages_of(self.target.fleet) if s.engine == "pyinfra"]
        _well([BIN / "pyinfra", "-y", inventory, *deploys], self.environment)


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _well(argv: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def measured(what: str, run: Callable[[], None], times: int = 1) -> float:
    """Run some times; print seconds and memory; return the median."""
    seconds = []
    with Memory() as memory:
        for _ in range(times):
            started = time.monotonic()
            run()
            seconds.append(time.monotonic() - started)
    median = statistics.median(seconds)
    print(f"{what:45} min {min(seconds):6.1f} s  median {median:6.1f} s  controller {memory.peak_mib:5.0f} MiB")
    return median


@contextmanager
def contestants(hosts: int) -> Iterator[Contestants]:
    """Twins of a site of their own, and what runs on them."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(prefix="bw-") as runtime:
        folder = Path(name)
        password = folder / "password"
        _private(password, "of the benchmark\n")
        environment = os.environ | {
            "BOXWRIGHT_VAULT_PASSWORD_FILE": str(password),
            "BOXWRIGHT_STATE": str(folder / "state"),
            "BOXWRIGHT_RUNTIME": runtime,
            "PYTHONPATH": str(REPO),
        }
        os.environ.update(environment)
        site = folder / "site.yml"
        rows = ", ".join(f"{{name: {SITE}-{number}}}" for number in range(1, hosts + 1))
        site.write_text(f"name: {SITE}\ntwin: {{distribution: debian-12}}\nhosts: [{rows}]\n")
        try:
            target = prepare(choose(Choice("lab", str(site))), print)
            yield Contestants(target, site, folder, environment)
        finally:
            subprocess.run([BIN / "invoke", "lab.down", "--site", str(site)], env=environment, cwd=REPO, check=False)


def main() -> None:
    """Boot, provision, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    wanted = parser.parse_args()
    with contestants(wanted.hosts) as who:
        measured("first run, with verification", who.boxwright)
        measured("second run, with verification", who.boxwright, wanted.runs)
        ours = measured("nothing to do: boxwright", who.ours, wanted.runs)
        ansible = measured("nothing to do: plain ansible-playbook", who.ansible, wanted.runs)
        pyinfra = measured("nothing to do: plain pyinfra", who.pyinfra, wanted.runs)
        print(f"ratio of medians, plain to boxwright: {(ansible + pyinfra) / ours:.1f}")


if __name__ == "__main__":
    main()
