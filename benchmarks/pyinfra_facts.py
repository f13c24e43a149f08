"""A run that changes nothing: the plain `pyinfra` command against Boxwright's worker, on a twin, by OpenSSH.

    python benchmarks/pyinfra_facts.py [--runs 5]

Boots a container twin, applies the same 40 resources with both, then times further runs of both in turn: over the
twin's own network and through a TCP relay that adds 20 ms to every round trip. Prints a table; needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors

REPO = Path(__file__).parents[1]
ROUND_TRIP_S = 0.020

DEPLOY = """
from io import StringIO
from pyinfra.operations import apt, files, server, systemd
apt.packages(name="Packages", packages=["curl", "nftables", "openssh-server", "python3"])
for n in range(5):
    server.group(name=f"Group {n}", group=f"bench{n}", system=True)
    server.user(name=f"User {n}", user=f"bench{n}", group=f"bench{n}", home=f"/srv/bench{n}", system=True,
                shell="/usr/sbin/nologin")
    files.directory(name=f"Folder {n}", path=f"/srv/bench{n}/data", user=f"bench{n}", group=f"bench{n}", mode="750")
    files.put(name=f"Config {n}", dest=f"/srv/bench{n}/data/config", src=StringIO(f"number={n}\\n" * 50),
              user=f"bench{n}", group=f"bench{n}", mode="640")
    files.link(name=f"Link {n}", path=f"/srv/bench{n}/current", target=f"/srv/bench{n}/data")
    files.put(name=f"Unit {n}", dest=f"/etc/systemd/system/bench{n}.service", mode="644",
              src=StringIO("[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"))
    systemd.service(name=f"Service {n}", service=f"bench{n}.service", running=True, enabled=True)
files.line(name="Line", path="/etc/bench.conf", line="hello = world")
files.directory(name="Logs", path="/var/log/bench", mode="755")
server.sysctl(name="Sysctl", key="net.ipv4.tcp_syncookies", value=1)
files.file(name="Gone", path="/etc/bench.old", present=False)
"""


class Relay:
    """Passes TCP connections on to the twin, each direction late by half of the round trip."""

    def __init__(self, address: str, delay_s: float) -> None:
        self._address = address
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connect, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = server.sockets[0].getsockname()[1]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._address, 22)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece is written when its time has come, while later ones are already read: latency, not a brake."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                loop.call_later(self._delay_s, writer.write, data)
        loop.call_later(self._delay_s, writer.close)


def plain(folder: Path, twin: RunningTwin, address: str, port: int, known_hosts: Path) -> Callable[[], None]:
    """The `pyinfra` command, ready to run."""
    data = {
        "ssh_port": port,
        "ssh_user": twin.user,
        "ssh_key": str(twin.key),
        "ssh_known_hosts_file": str(known_hosts),
        "ssh_strict_host_key_checking": "yes",
    }
    inventory = folder / f"inventory-{port}.py"
    inventory.write_text(f"hosts = [({address!r}, {data!r})]\n")
    command = [Path(sys.executable).with_name("pyinfra"), "-y", inventory, folder / "bench.py"]
    return lambda: subprocess.run(command, check=True, capture_output=True, cwd=REPO).check_returncode()


def ours(folder: Path, twin: RunningTwin, address: str, port: int, known_hosts: Path) -> Callable[[], str]:
    """The worker, ready to run; tells its round trips."""
    host: dict[str, Any] = {
        "name": twin.name,
        "address": address,
        "port": port,
        "user": twin.user,
        "key": str(twin.key),
        "known_hosts": str(known_hosts),
    }
    job = json.dumps({"hosts": [host], "deploys": [str(folder / "bench.py")]})
    command = [sys.executable, "-m", "boxwright.engines.pyinfra.worker"]

    def run() -> str:
        done = subprocess.run(command, input=job, check=True, capture_output=True, text=True, cwd=REPO)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return next(event["message"] for event in reversed(events) if event["resource"] == "facts")

    return run


def timed(run: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


def executed_commands(twin: RunningTwin, run: Callable[[], Any]) -> int:
    """Commands that sshd ran meanwhile, by its own log."""
    ssh = ["ssh", "-i", twin.key, "-o", f"UserKnownHostsFile={twin.known_hosts}", f"root@{twin.address}"]
    count = "journalctl -q -t sshd --no-pager | grep -c 'Starting session'"

    def logged() -> int:
        return int(subprocess.run([*ssh, count], capture_output=True, text=True, check=False).stdout)

    before = logged()
    run()
    return logged() - before - 1  # less the second look at the log


@contextlib.contextmanager
def booted() -> Iterator[RunningTwin]:
    """A twin of its own lab, whose sshd logs each command."""
    lab = Lab("bench-pyinfra", mirrors=Mirrors(), progress=print)
    try:
        hardware = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=10)
        (twin,) = lab.up([TwinSpec("bench", "debian-12", hardware)])
        ssh = ["ssh", "-i", twin.key, "-o", f"UserKnownHostsFile={twin.known_hosts}", f"root@{twin.address}"]
        verbose = "echo 'LogLevel VERBOSE' > /etc/ssh/sshd_config.d/bench.conf && systemctl reload ssh"
        subprocess.run([*ssh, verbose], check=True)
        yield twin
    finally:
        lab.down()


def main() -> None:
    """Boot, apply, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name, booted() as twin:
        folder = Path(name)
        (folder / "bench.py").write_text(DEPLOY)
        relay = Relay(twin.address, ROUND_TRIP_S / 2)
        relayed_hosts = folder / "known_hosts"
        key = next(line for line in twin.known_hosts.read_text().splitlines() if line.startswith(twin.address))
        relayed_hosts.write_text(key.replace(twin.address, f"[127.0.0.1]:{relay.port}", 1) + "\n")
        routes = {
            "twin's network": (twin.address, twin.port, twin.known_hosts),
            f"{ROUND_TRIP_S * 1000:.0f} ms away": ("127.0.0.1", relay.port, relayed_hosts),
        }
        direct = routes["twin's network"]
        print(f"first run, worker: {timed(ours(folder, twin, *direct)):.1f} s")
        print(f"commands of a no-op run, plain: {executed_commands(twin, plain(folder, twin, *direct))}")
        print(f"commands of a no-op run, worker: {executed_commands(twin, ours(folder, twin, *direct))}")
        print(f"what the worker says: {ours(folder, twin, *direct)()}")
        for route, where in routes.items():
            measured: dict[str, list[float]] = {"plain": [], "worker": []}
            for _ in range(runs):
                measured["plain"].append(timed(plain(folder, twin, *where)))
                measured["worker"].append(timed(ours(folder, twin, *where)))
            for engine, seconds in measured.items():
                print(f"{route:15} {engine:7} min {min(seconds):5.2f} s  median {statistics.median(seconds):5.2f} s")
            ratio = statistics.median(measured["plain"]) / statistics.median(measured["worker"])
            print(f"{route:15} ratio   {ratio:.1f}")


if __name__ == "__main__":
    main()
