"""The pyinfra worker against OpenSSH, systemd, sudo and apt on twins."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fresh_lab import fresh_lab

from boxwright.engines.events import Outcome
from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.hardware import Cpu, Hardware

sys.path.append(str(Path(__file__).parents[1] / "unit/engines"))
from pyinfra_testbed import Run, finish, start

pytestmark = pytest.mark.lab

DISTRIBUTIONS = (("bookworm", "debian-12"), ("trixie", "debian-13"))

SITE = """
from io import StringIO
from pyinfra import host
from pyinfra.operations import apt, files, server, systemd
server.user(name="User", user="svc", home="/srv/svc", shell="/usr/sbin/nologin", system=True, ensure_home=True)
apt.packages(name="Packages", packages=["nftables", "curl"])
files.directory(name="Folder", path="/srv/svc/data", user="svc", group="svc", mode="750")
files.put(name="Key", src=StringIO(host.data.api_key), dest="/srv/svc/key", user="svc", group="svc", mode="400")
unit = files.put(
    name="Unit", dest="/etc/systemd/system/svc.service", mode="644",
    src=StringIO("[Service]\\nUser=svc\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"),
)
systemd.service(name="Service", service="svc.service", running=True, enabled=True, daemon_reload=unit.will_change)
server.shell(name="As svc", commands=["id -un > /srv/svc/data/me"], _sudo=True, _sudo_user="svc")
"""


@pytest.fixture(scope="module")
def twins() -> Iterator[dict[str, RunningTwin]]:
    hardware = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=10)
    with fresh_lab("test-pyinfra") as lab:
        specs = [TwinSpec(name, distribution, hardware) for name, distribution in DISTRIBUTIONS]
        yield {twin.name: twin for twin in lab.up(specs)}


def job_host(twin: RunningTwin, **changes: Any) -> dict[str, Any]:
    return {
        "name": twin.name,
        "address": twin.address,
        "port": twin.port,
        "user": twin.user,
        "key": str(twin.key),
        "known_hosts": str(twin.known_hosts),
        "data": {"api_key": "hunter2hunter2"},
        **changes,
    }


def wait_until_it_answers(twin: RunningTwin, seconds: float) -> None:
    """Wait until the ssh server greets.

    Raises:
        TimeoutError: It has not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((twin.address, twin.port), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{twin.name} did not answer within {seconds:.0f} s")
        time.sleep(0.2)


def run(hosts: list[dict[str, Any]], *deploys: Path, **job: Any) -> Run:
    return finish(start({"hosts": hosts, "deploys": [str(deploy) for deploy in deploys], **job}), timeout=200)


def shell(twin: RunningTwin, command: str) -> str:
    ssh = ["ssh", "-i", twin.key, "-o", f"UserKnownHostsFile={twin.known_hosts}", f"root@{twin.address}", command]
    return subprocess.run(ssh, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.py"
    path.write_text(SITE)
    return path


def test_a_site_is_built_on_both_debians_and_then_unchanged(twins: dict[str, RunningTwin], site: Path) -> None:
    hosts = [job_host(twin) for twin in twins.values()]
    foreseen = run(hosts, site, dry_run=True)
    assert foreseen.rc == 0, foreseen.raw
    first = run(hosts, site)
    assert first.rc == 0, first.raw
    second = run(hosts, site)
    assert second.rc == 0
    for name, twin in twins.items():
        assert shell(twin, "stat -c '%a %U' /srv/svc/key; systemctl is-active svc; cat /srv/svc/data/me") == (
            "400 svc\nactive\nsvc"
        )
        changed = [key for key, outcome in second.outcomes(name).items() if outcome is Outcome.CHANGED]
        assert changed == ["As svc"]  # a bare shell command always runs
        assert foreseen.outcomes(name)["Unit"] is first.outcomes(name)["Unit"] is Outcome.CHANGED
        (cost,) = second.finished("facts", name)
        assert int(cost.message.split()[0]) <= 6


def test_everything_works_through_sudo(twins: dict[str, RunningTwin], tmp_path: Path) -> None:
    twin = twins["trixie"]
    shell(
        twin,
        "id deployer >/dev/null 2>&1 || useradd -m -s /bin/bash deployer;"
        "echo 'deployer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deployer;"
        "install -d -m 700 -o deployer ~deployer/.ssh;"
        "install -m 600 -o deployer ~/.ssh/authorized_keys ~deployer/.ssh/authorized_keys",
    )
    deploy = tmp_path / "sudo.py"
    deploy.write_text(
        """
from io import StringIO
from pyinfra import host
from pyinfra.facts.server import Command, Home
from pyinfra.operations import files, server
who = [host.get_fact(Command, "id -un"), host.get_fact(Command, "id -un", _sudo_user="deployer")]
server.shell(name=" ".join(who), commands=["true"])
files.put(name="Key", src=StringIO(host.data.api_key), dest="/root/only", mode="400")
home = host.get_fact(Home, _sudo_user="nobody-yet")
server.user(name=f"Home {home}", user="nobody-yet")
files.put(name="His", src=StringIO("x"), dest="/tmp/his", mode="644", _sudo_user="nobody-yet")
"""
    )
    host = job_host(twin, user="deployer", become=True)
    first = run([host], deploy)
    assert first.rc == 0, first.raw
    assert set(first.outcomes()) == {"root deployer", "Key", "Home None", "His"}
    assert shell(twin, "stat -c '%a %U' /root/only /tmp/his") == "400 root\n644 nobody-yet"
    assert run([host], deploy).outcomes()["Key"] is Outcome.OK


# Drops every packet of the twin until somebody connects to a port of its own.
HOLE = """
import socket, subprocess, time
time.sleep(1)  # the command that started this wants to say that it has
rules = '''
table ip hole {
  chain in { type filter hook input priority 0; policy drop; tcp dport 7777 accept; }
  chain out { type filter hook output priority 0; policy drop; tcp sport 7777 accept; }
}
'''
subprocess.run(["nft", rules], check=True)
with socket.create_server(("", 7777)) as door:
    door.settimeout(200)  # nobody came: the test has failed, and the twin is shared
    try:
        door.accept()
    except TimeoutError:
        pass
subprocess.run(["nft", "delete table ip hole"], check=True)
subprocess.run(["pkill", "-x", "sleep"])
"""


def test_a_box_that_goes_silent_ends_as_unreachable(twins: dict[str, RunningTwin], tmp_path: Path) -> None:
    """The peer neither answers nor closes: only the deadlines can end this."""
    twin = twins["bookworm"]
    deploy = tmp_path / "slow.py"
    deploy.write_text("from pyinfra.operations import server\nserver.shell(name='Hang', commands=['sleep 300'])\n")
    worker = start({"hosts": [job_host(twin)], "deploys": [str(deploy)]})
    deadline = time.monotonic() + 30
    while not shell(twin, "pgrep -f '^sleep 300' || :"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shell(twin, f"systemd-run -q python3 -c {shlex.quote(HOLE)}")
    started = time.monotonic()
    try:
        ended = finish(worker, timeout=90)
        assert time.monotonic() - started < 65
        assert ended.rc == 4
        assert ended.outcomes() == {"Hang": Outcome.UNREACHABLE}

        in_the_hole = time.monotonic()
        refused = run([job_host(twin)], deploy)  # while the hole is still there, nothing even connects
        assert refused.rc == 4
        assert time.monotonic() - in_the_hole < 20
    finally:
        with socket.create_connection((twin.address, 7777), timeout=20):
            pass
        wait_until_it_answers(twin, seconds=20)  # the twin is shared: the next test must not meet the hole


def test_a_server_that_accepts_and_says_nothing_is_given_up(twins: dict[str, RunningTwin], site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = job_host(twins["trixie"], address="127.0.0.1", port=silent.getsockname()[1])
        started = time.monotonic()
        ended = run([host], site)
    assert time.monotonic() - started < 35
    assert ended.rc == 4


def test_a_slow_fact_is_only_waited_for_when_it_is_surely_wanted(twins: dict[str, RunningTwin], tmp_path: Path) -> None:
    deploy = tmp_path / "slow.py"
    deploy.write_text(
        """
from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import server
if host.get_fact(Command, "echo skip") == "skip":
    server.shell(name="Fast", commands=["true"])
else:
    host.get_fact(Command, "sleep 40")
wanted = host.get_fact(Command, "sleep 7; echo slept")
server.shell(name=wanted, commands=["true"])
"""
    )
    started = time.monotonic()
    ended = run([job_host(twins["bookworm"])], deploy)
    assert ended.outcomes() == {"Fast": Outcome.CHANGED, "slept": Outcome.CHANGED}, ended.raw
    assert time.monotonic() - started < 30


def test_large_output_and_uploads_pass(twins: dict[str, RunningTwin], tmp_path: Path) -> None:
    """More than an ssh window in every direction."""
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 80_000)
    deploy = tmp_path / "large.py"
    deploy.write_text(
        f"""
from pyinfra.operations import files, server
files.put(name="Large", src={str(large)!r}, dest="/root/large", mode="600")
server.shell(name="Chatty", commands=["head -c 8000000 /dev/urandom | base64; cat /root/large | base64 >&2"])
"""
    )
    ended = run([job_host(twins["bookworm"])], deploy)
    assert ended.rc == 0, ended.raw
    assert run([job_host(twins["bookworm"])], deploy).outcomes()["Large"] is Outcome.OK
