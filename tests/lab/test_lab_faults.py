"""What goes wrong in a run: the box falls silent, the lock breaks, the controller is killed, the rules shut it out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.places import ROOT
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

# ssh notices after three unanswered questions of ten seconds.
SILENCE_ENDS_A_RUN_IN_S = 60


@dataclass(frozen=True)
class Box:
    site: Path
    endpoint: Endpoint
    boxwright: Boxwright

    @property
    def words(self) -> tuple[str, ...]:
        return ("provision", "--profile", "lab", "--site", str(self.site), "--yes")

    def on(self, script: str) -> str:
        return check(self.endpoint, script)

    def begin(self, stages: str, until: str) -> subprocess.Popen[str]:
        """A run, as soon as a resource of a stage has begun."""
        process = self.boxwright.start(*self.words, "--stages", stages, "--json")
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if f'"{until}"' in line and '"started"' in line:
                return process
        raise AssertionError("".join(said[-20:]) + process.communicate()[1])

    def again(self, stages: str) -> None:
        """A whole run. A box that heard nothing of the end of the one before keeps its lock for a minute and a half."""
        deadline = time.monotonic() + 100
        while (ran := self.boxwright(*self.words, "--stages", stages)).code == Exit.LOCKED:
            assert time.monotonic() < deadline, ran.text[-3000:]
            time.sleep(5)
        assert ran.code == Exit.OK, ran.text[-3000:]

    def engines(self) -> list[str]:
        """Our engines' processes; their inventories and jobs are under this test's own folder."""
        mine = f"BOXWRIGHT_RUNTIME={self.boxwright.environment['BOXWRIGHT_RUNTIME']}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mine in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [line for line in found if "ansible" in line or "pyinfra" in line]


@pytest.fixture(scope="module")
def box(boxwright: Boxwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with fresh_lab("test-faults") as lab:
        (twin,) = lab.up([TwinSpec("faults-1", "debian-12", load_profile("lab").hardware)])
        site = tmp_path_factory.mktemp("site") / "site.yml"
        site.write_text(
            f"name: faults\nhosts:\n  - {{name: {twin.name}, address: {twin.address}}}\n"
            f"ssh: {{key: {twin.key}, known_hosts: {twin.known_hosts}, connect_timeout_s: 5}}\nproxy: {lab.proxy_url}\n"
            f"ca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\n"
        )
        endpoint = Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10)
        yield Box(site, endpoint, boxwright)


@pytest.mark.on_demand  # of the engine alone it is seen every time, in test_lab_pyinfra_engine.py
def test_a_box_that_falls_silent_ends_the_run(box: Box) -> None:
    run = box.begin("base", "base")
    box.on(
        "systemd-run -q sh -c 'nft add table ip hole;"
        'nft add chain ip hole in "{ type filter hook input priority 0; policy drop; }";'
        'nft add chain ip hole out "{ type filter hook output priority 0; policy drop; }";'
        "sleep 60; nft delete table ip hole'"
    )
    started = time.monotonic()
    out, err = run.communicate(timeout=120)
    assert time.monotonic() - started < SILENCE_ENDS_A_RUN_IN_S
    assert run.returncode == Exit.ERROR, out[-3000:] + err[-2000:]
    assert "deploy lock broke" in out or "unreachable" in out.lower(), out[-3000:]
    assert not box.engines()
    time.sleep(max(0.0, started + 65 - time.monotonic()))
    box.again("base")


def test_a_lock_that_breaks_stops_the_run(box: Box) -> None:
    run = box.begin("base,kernel", "base")
    holder = f"{box.endpoint.known_hosts}.*boxwright/deploy.lock"  # the ssh that holds it, of this box alone
    subprocess.run(["pkill", "-f", holder], check=True)
    out, err = run.communicate(timeout=60)
    assert run.returncode == Exit.ERROR, out[-3000:] + err[-2000:]
    assert "the connection that held the box's deploy lock broke" in out
    assert "goes on from here" in out
    assert not box.engines()
    box.again("base,kernel")


@pytest.mark.parametrize(
    ("stages", "until"),
    [("base,kernel", "kernel"), ("models", "models")],
    ids=["ansible", "pyinfra"],
)
def test_the_engines_of_a_killed_controller_end_too(box: Box, stages: str, until: str) -> None:
    box.on("rm -f /etc/sysctl.d/90-boxwright.conf; rm -rf /etc/boxwright/requests")  # so that there is work to do
    run = box.begin(stages, until)
    assert box.engines()
    os.kill(run.pid, signal.SIGKILL)
    run.wait(timeout=10)
    deadline = time.monotonic() + 10
    while box.engines():
        assert time.monotonic() < deadline, box.engines()
        time.sleep(0.2)
    box.again(stages)


@pytest.mark.on_demand  # of the role alone it is seen every time, in test_lab_machine_roles.py
def test_rules_that_would_shut_the_controller_out_are_taken_back(box: Box, tmp_path: Path) -> None:
    box.again("firewall")
    rules = "nft -s list ruleset; cat /etc/nftables.d/boxwright.nft"
    before = box.on(rules)
    profile = tmp_path / "hasty.yml"
    lab = (ROOT / "inventories/profiles/lab.yml").read_text().replace("name: lab", "name: hasty")
    profile.write_text(lab + "\nfirewall:\n  revert_after_s: 10\n")
    site = tmp_path / "site.yml"
    site.write_text(box.site.read_text() + "networks: {management: [203.0.113.0/24]}\n")
    ran = box.boxwright("provision", "--profile", str(profile), "--site", str(site), "--yes", "--stages", "firewall")
    assert ran.code == Exit.ERROR, ran.text[-3000:]
    assert "the rules on trial were taken back: no new connection came through them in time" in ran.text
    assert box.on(rules) == before
    box.again("firewall")
