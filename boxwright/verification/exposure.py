"""Which ports of a box answer another machine: asked from this one, over the network."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from boxwright.errors import BoxwrightError, UnreachableError
from boxwright.transport.host_keys import HostKey, scan
from boxwright.verification.ssh import BoxShell

# Where serving stacks listen by default, and where a mistake would be found by a scanner first.
NOTORIOUS_PORTS = (3000, 5000, 8000, 8080, 8081, 9090, 9100, 11434, 2375)
# A DHCP client must hear its server; that a packet reaches nothing else is the firewall's work.
DHCP_CLIENT_PORTS = (68, 546)
_ANSWERS_IN_S = 2

_PROCESSES_OF_UNITS = """
import contextlib, json, pathlib, sys
found = []
for pid in DATA["pids"]:
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc", str(pid), "cgroup").read_text().splitlines()
        if {name for line in lines for name in line.split("/")} & set(DATA["units"]):
            found.append(pid)
json.dump(found, sys.stdout)
"""
_LISTENER = """
import select, socket, sys
both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
server = socket.create_server(("", 0), **both)
sys.stdout.write(str(server.getsockname()[1]) + "\\n")
sys.stdout.flush()
select.select([sys.stdin], [], [], 60)
"""
# Addresses that other machines could know the box by, and its ssh host keys, by which it is known again there.
_ADDRESSES = """
import json, pathlib, subprocess, sys
asked = ["ip", "-json", "address", "show", "scope", "global"]
links = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout or "[]")
keys = [path.read_text().split()[:2] for path in sorted(pathlib.Path("/etc/ssh").glob("ssh_host_*_key.pub"))]
found = [one["local"] for link in links for one in link.get("addr_info", []) if "local" in one]
json.dump({"addresses": found, "keys": keys}, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for others: `protocol` is tcp or udp, `address` may be a wildcard, `pid` 0 where unknown."""

    protocol: str
    address: str
    port: int
    program: str
    pid: int = 0

    @property
    def is_loopback(self) -> bool:
        """Whether only the box itself can reach it."""
        if self.address == "*":
            return False
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        return f"{self.program or 'something'} on {self.protocol} {self.address}:{self.port}"


def parse_listeners(text: str) -> list[Listener]:
    """Read what `ss --no-header --listening --numeric --processes --tcp --udp` printed.

    Raises:
        ValueError: A line is not one of ss's: to overlook a socket would be worse than to stop.
    """
    listeners = []
    for line in text.splitlines():
        if not line.strip():
            continue
        columns = line.split(None, 6)
        if len(columns) < 6 or columns[0] not in ("tcp", "udp"):
            raise ValueError(f"not a line of ss: {line!r}")
        address, _, port = columns[4].rpartition(":")
        program = re.search(r'\(\("([^"]*)",pid=(\d+)', columns[6] if len(columns) > 6 else "")
        bare = address.partition("%")[0].strip("[]") if address != "*" else "*"
        name, pid = (program[1], int(program[2])) if program else ("", 0)
        listeners.append(Listener(columns[0], bare, int(port), name, pid))
    return listeners


def of_units(shell: BoxShell, listeners: Sequence[Listener], units: Sequence[str]) -> list[Listener]:
    """Those of some sockets that processes of some units have."""
    told = shell.python(_PROCESSES_OF_UNITS, {"units": list(units), "pids": sorted({one.pid for one in listeners})})
    return [one for one in listeners if one.pid in told]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a box may be scanned from here.

    Attributes:
        reached: Its addresses at which it answers, the one that it is known by first.
        silent: Those of its own at which nobody, or another machine, answered: nothing is known of these.
    """

    reached: tuple[str, ...]
    silent: tuple[str, ...] = ()

    def __str__(self) -> str:
        unknown = f"; from here it is not reached at {', '.join(self.silent)}" if self.silent else ""
        return f"{', '.join(self.reached)}{unknown}"


def addresses_of(shell: BoxShell) -> Addresses:
    """The address that a box is known by, and those that it has itself, IPv4 and IPv6, where they lead to it from here.

    A private address, such as that of Docker's bridge, may be another machine's here, or this one's: the box is known
    by its ssh host key.
    """
    host, told = shell.host, shell.python(_ADDRESSES, None)
    keys = {HostKey(*words) for words in told["keys"]}
    others = [one for one in dict.fromkeys(told["addresses"]) if one != host.address]

    def leads_there(address: str) -> bool:
        try:
            return not keys.isdisjoint(scan(host.name, address, host.port, _ANSWERS_IN_S))
        except UnreachableError:
            return False

    with ThreadPoolExecutor(max_workers=16, thread_name_prefix="addresses") as pool:
        leads = dict(zip(others, pool.map(leads_there, others), strict=True))
    return Addresses(
        (host.address, *(one for one in others if leads[one])), tuple(one for one in others if not leads[one])
    )


def answering_ports(address: str, ports: Iterable[int], *, timeout_s: float = 2) -> list[int]:
    """The ports among some that accept a TCP connection from here."""
    with ThreadPoolExecutor(max_workers=32, thread_name_prefix="probe") as pool:
        wanted = sorted(set(ports))
        answers = pool.map(lambda port: accepts(address, port, timeout_s=timeout_s), wanted)
        return [port for port, answer in zip(wanted, answers, strict=True) if answer]


def accepts(address: str, port: int, *, timeout_s: float = 2) -> bool:
    """Whether a TCP connection can be made."""
    try:
        socket.create_connection((address, port), timeout=timeout_s).close()
    except OSError:
        return False
    return True


@contextmanager
def forgotten_service(shell: BoxShell) -> Iterator[int]:
    """Run an unplanned service on every address of the box, and give its port. It ends with the block."""
    argv = shell.argv(f"python3 -c {shlex.quote(_LISTENER)}")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101  asked for above
        assert process.stdout is not None  # noqa: S101
        try:
            answer = process.stdout.readline().strip()
            if not answer.isdigit():
                raise BoxwrightError("the box could not start a listener", where=shell.host.name)
            yield int(answer)
        finally:
            process.stdin.close()
            process.terminate()
