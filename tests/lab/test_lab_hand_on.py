"""Boxes of a batch hand a model on, as their line to the controller is slow: sent once, and none depends on another.

Real firewall, real units, real ssh. The line is made slow by `tc`, to 200 Mbit/s.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from as_machines import site_of_machines
from bulk_model import add_bulk_model
from fresh_lab import fresh_lab
from hub_server import Hub
from lab_command import Boxwright, Ran
from model_switching import add_models

from boxwright.errors import Exit
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

SIZE = 200_000_000
LEFT = (
    "systemctl list-units --all --plain --no-legend 'boxwright-hand-on*'; "
    "nft list ruleset | grep hand-on; ss -Hltn 'sport = 8874'; true"
)
LAB = "test-hand-on"
ACCOUNT = (
    "useradd --create-home --shell /bin/bash ada; cp -rT /root/.ssh /home/ada/.ssh; chown -R ada: /home/ada/.ssh; "
    "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada"
)
SLOWLY = "tbf burst 256kb latency 100ms rate"


@dataclass
class Bench:
    """Twins, the wire between them and the controller, and what they are given."""

    boxwright: Boxwright
    lab: Lab
    twins: list[RunningTwin]
    hub: Hub
    words: tuple[str, ...]
    file: str
    sha256: str

    @property
    def subnet(self) -> str:
        return self.twins[0].address.split(".")[2]

    @property
    def address(self) -> str:
        """Of the controller, towards the twins."""
        return f"{self.twins[0].address.rpartition('.')[0]}.1"

    def provision(self, stages: str = "models") -> Ran:
        return self.boxwright("provision", *self.words, "--stages", stages)

    @property
    def site(self) -> Path:
        return Path(self.words[self.words.index("--site") + 1])

    def with_site(self, text: str, folder: Path) -> tuple[str, ...]:
        """The words of provision for the same site with another text, which is written to a folder."""
        (folder / "site.yml").write_text(text)
        return tuple(str(folder / "site.yml") if word == str(self.site) else word for word in self.words)

    def without_folders(self, folder: Path) -> tuple[str, ...]:
        """The words of provision for a site whose controller has no file of the model, in a folder."""
        lines = [
            line.replace(f", controller_folders: [{self.site.parent}/weights]", "")
            for line in self.site.read_text().splitlines()
        ]
        return self.with_site(
            "\n".join([*lines, f"no_proxy: [{self.address}]", "networks: {uplink_mbit_s: 200}\n"]), folder
        )

    def on(self, twin: RunningTwin, script: str) -> str:
        return check(Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10), script)

    def sent(self) -> int:
        """Bytes that left the controller towards the twins so far."""
        return int(Path(f"/sys/class/net/bwlab{self.subnet}/statistics/tx_bytes").read_text())

    def have_it(self, *twins: RunningTwin) -> bool:
        return all(self.on(twin, f"sha256sum <{self.file}").split()[0] == self.sha256 for twin in twins)

    def forget(self, *twins: RunningTwin) -> None:
        for twin in twins:
            self.on(twin, f"rm -rf {Path(self.file).parent}")

    def wire(self, twin: RunningTwin, command: str) -> None:
        """Do something to `{port}`, the bridge's end of a twin's wire, or in `{inside}`, the twin's namespace."""
        host = twin.address.split(".")[3]
        words = command.format(port=f"twin{host}", inside=f"boxwright.{LAB}.{host}").split()
        subprocess.run(words, check=True, capture_output=True)

    def until_taken(self, run: subprocess.Popen[str]) -> None:
        """Read a run until a box takes the file from another."""
        assert run.stdout
        for line in map(json.loads, run.stdout):
            if line.get("message", "").startswith("takes bulk.gguf from"):
                return
        pytest.fail("no box took it from another")


@pytest.fixture(scope="module")
def bench(boxwright: Boxwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("hand-on")
    with fresh_lab(LAB) as lab:
        hardware = load_profile("lab").hardware
        twins = lab.up([TwinSpec(f"hand-{number}", "debian-12", hardware) for number in (1, 2, 3)])
        content = b"GGUF" + random.Random(17).randbytes(SIZE - 4)  # noqa: S311 - any bytes do
        hub = Hub(f"{twins[0].address.rpartition('.')[0]}.1")
        words, file = add_bulk_model(lab, twins, folder, content, hub.offer("/bulk.gguf", content))
        made = Bench(boxwright, lab, twins, hub, words, file, hashlib.sha256(content).hexdigest())
        subprocess.run(f"tc qdisc replace dev bwlab{made.subnet} root {SLOWLY} 200mbit".split(), check=True)
        yield made
        hub.close()


def taken(ran: Ran) -> list[str]:
    return [line["message"] for line in ran.kind("event") if line["message"].startswith("takes ")]


def test_the_controller_sends_it_once_and_nothing_stays_open(bench: Bench) -> None:
    ready = bench.provision("firewall")
    assert ready.code == Exit.OK, ready.text[-3000:]
    before = bench.sent()
    ran = bench.provision()
    assert ran.code == Exit.OK, ran.text[-3000:]
    (line,) = ran.kind("transfer")
    assert line["handed_on"], line
    assert bench.sent() - before < 1.4 * SIZE
    assert len(taken(ran)) == 2
    assert bench.have_it(*bench.twins)
    for twin in bench.twins:
        assert bench.on(twin, LEFT) == ""
        assert bench.on(twin, "/usr/local/sbin/boxwright-firewall status").strip() == "committed"
    again = bench.provision()
    assert not [event for event in again.kind("event") if event["outcome"] == "changed"]


def test_from_a_hub_it_comes_once(bench: Bench, tmp_path: Path) -> None:
    bench.forget(*bench.twins)
    ran = bench.boxwright("provision", *bench.without_folders(tmp_path), "--stages", "models")
    assert ran.code == Exit.OK, ran.text[-3000:]
    (line,) = ran.kind("transfer")
    assert (line["source"], line["handed_on"]) == ("the hubs", True)
    assert bench.hub.ranges("/bulk.gguf") == [None]
    assert bench.have_it(*bench.twins)


def test_over_ipv6_and_by_an_account_with_sudo(bench: Bench, tmp_path: Path) -> None:
    bench.forget(*bench.twins)
    prefix = f"fd83:8{bench.subnet:0>3}::"
    subprocess.run(f"ip address replace {prefix}1/64 dev bwlab{bench.subnet} nodad".split(), check=True)
    text, known = bench.site.read_text(), bench.twins[0].known_hosts.read_text()
    for twin in bench.twins:
        wide = f"{prefix}{twin.address.rpartition('.')[2]}"
        bench.on(twin, f"ip address replace {wide}/64 dev eth0 nodad; {ACCOUNT}")
        text, known = (told.replace(f"{twin.address}", wide) for told in (text, known))
    (tmp_path / "known_hosts").write_text(known)
    text = text.replace(str(bench.twins[0].known_hosts), str(tmp_path / "known_hosts"))
    words = bench.with_site(text.replace("ssh: {", "ssh: {user: ada, "), tmp_path)
    before = bench.sent()
    ran = bench.boxwright("provision", *words, "--stages", "models")
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert len(taken(ran)) == 2
    assert bench.sent() - before < 1.4 * SIZE
    assert bench.have_it(*bench.twins)
    for twin in bench.twins:
        assert bench.on(twin, LEFT) == ""


def test_out_of_a_bundle_it_leaves_the_controller_once(bench: Bench, tmp_path: Path) -> None:
    bench.forget(*bench.twins)
    words = bench.without_folders(tmp_path)
    lock, bundle = tmp_path / "bulk.json", tmp_path / "bundle"
    pair = ("--profile", words[1], "--site", words[3])
    locked = bench.boxwright("bundle.lock", *pair, "--distribution", "debian-12", "--to", str(lock))
    assert locked.code == Exit.OK, locked.text[-3000:]
    fetched = bench.boxwright("bundle.fetch", "--lock", str(lock), "--bundle", str(bundle), "--site", words[3])
    assert fetched.code == Exit.OK, fetched.text[-3000:]
    before = bench.sent()
    ran = bench.boxwright("provision", *words, "--stages", "models", "--bundle", str(bundle))
    assert ran.code == Exit.OK, ran.text[-3000:]
    (line,) = ran.kind("transfer")
    assert (line["source"], line["handed_on"]) == ("the bundle", True)
    assert len(taken(ran)) == 2
    assert bench.sent() - before < 1.4 * SIZE
    assert bench.have_it(*bench.twins)


def test_a_killed_controller_leaves_no_door(bench: Bench) -> None:
    has, *lack = bench.twins
    bench.forget(*lack)
    bench.wire(has, f"ip netns exec {{inside}} tc qdisc replace dev eth0 root {SLOWLY} 100mbit")
    run = bench.boxwright.start("provision", *bench.words, "--stages", "models", "--json")
    bench.until_taken(run)
    found = bench.on(has, LEFT)
    assert "boxwright-hand-on.service" in found
    (stranger,) = (twin for twin in lack if f"ip saddr {twin.address} tcp dport 8874 accept" not in found)
    knock = f"timeout 3 bash -c '</dev/tcp/{has.address}/8874' 2>/dev/null && echo in || echo out"
    assert bench.on(stranger, knock) == "out\n"
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    until = time.monotonic() + 30
    while (left := bench.on(has, LEFT)) and time.monotonic() < until:
        time.sleep(0.5)
    assert left == ""


def test_a_box_that_falls_silent_in_the_middle_fails_no_other(bench: Bench) -> None:
    has, *lack = bench.twins
    bench.forget(*lack)
    run = bench.boxwright.start("provision", *bench.words, "--stages", "models", "--json")
    bench.until_taken(run)
    time.sleep(8)  # of 16 s; its own part of the run is over by now
    bench.wire(has, f"ip -netns boxwright.{LAB} link set {{port}} down")
    out, err = run.communicate(timeout=300)
    bench.wire(has, f"ip -netns boxwright.{LAB} link set {{port}} up")
    assert run.returncode == Exit.OK, out[-3000:] + err[-3000:]
    assert bench.have_it(*lack)
    told = [line["message"] for line in map(json.loads, out.splitlines()) if line.get("type") == "event"]
    assert any(text.startswith(f"asks {has.name} no more") for text in told)
    until = time.monotonic() + 90
    while (left := bench.on(has, LEFT)) and time.monotonic() < until:
        time.sleep(1)
    assert left == ""


def test_a_batch_that_switches_hands_the_other_model_on(boxwright: Boxwright, tmp_path: Path) -> None:
    with fresh_lab(f"{LAB}-switch") as lab:
        hardware = load_profile("lab").hardware
        twins = lab.up([TwinSpec(f"switch-{number}", "debian-12", hardware) for number in (1, 2)])
        site = tmp_path / "site.yml"
        site.write_text(site_of_machines("hand-switch", lab, twins) + "networks: {uplink_mbit_s: 5}\n")
        add_models(site, tmp_path)
        words = ("--profile", "lab", "--site", str(site), "--yes")
        first = boxwright("provision", *words)
        assert first.failed_checks == {}
        assert first.code == Exit.OK, first.text[-3000:]
        switched = boxwright("models.switch", *words, "--model", "again")
    assert switched.code == Exit.OK, switched.text[-3000:]
    assert switched.failed_checks == {}
    (line,) = switched.kind("transfer")
    assert line["handed_on"], line
    assert len(taken(switched)) == 1
