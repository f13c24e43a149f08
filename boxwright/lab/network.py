"""The network of a lab: a bridge in a namespace of its own, a wire to the controller, and one to every twin.

The controller keeps its routes and its firewall. It gains one interface with one address, and that subnet's
route. The twins' default gateway sits in the bridge's namespace and answers "unreachable" to everything
outside, so that a program in a twin that does not use the proxy fails at once rather than after minutes.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import LabError
from boxwright.lab.commands import run

_POOL = ipaddress.IPv4Network("10.83.0.0/16")
_CONTROLLER, _GATEWAY, _FIRST_TWIN = 1, 254, 10
_BRIDGE = "br0"


def free_subnet(taken: Collection[int]) -> int:
    """Pick the third octet of a /24 that neither another lab nor a route of the controller uses.

    Raises:
        LabError: None is left.
    """
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
    octet = first_free_octet(taken, (route.get("dst", "") for route in routes))
    if octet is None:
        raise LabError(f"no free subnet in {_POOL}", hint="End labs that are not needed: ./invoke lab.down --site NAME")
    return octet


def first_free_octet(taken: Collection[int], destinations: Iterable[str]) -> int | None:
    """The first third octet whose /24 overlaps no destination; a default route overlaps nothing."""
    routed = []
    for text in destinations:
        with suppress(ValueError):
            routed.append(ipaddress.IPv4Network(text, strict=False))
    for octet, subnet in enumerate(_POOL.subnets(new_prefix=24)):
        if octet not in taken and not any(net.prefixlen and net.overlaps(subnet) for net in routed):
            return octet
    return None


def free_host_octet(taken: Collection[int]) -> int:
    """Pick the last octet of a twin's address.

    Raises:
        LabError: The lab is full.
    """
    for octet in range(_FIRST_TWIN, _GATEWAY):
        if octet not in taken:
            return octet
    raise LabError("the lab's subnet is full", hint="Start the other twins in a lab of another name.")


@dataclass(frozen=True)
class LabNetwork:
    """The network objects of one lab; all names are derived from it."""

    lab: str
    octet: int

    @property
    def subnet(self) -> str:
        """The addresses of the lab."""
        return f"10.83.{self.octet}.0/24"

    @property
    def controller_address(self) -> str:
        """Where twins reach the controller."""
        return self.address(_CONTROLLER)

    @property
    def namespace(self) -> str:
        """The namespace of the bridge."""
        return f"boxwright.{self.lab}"  # a dot: no name of a lab has one, so no two labs meet

    def address(self, host: int) -> str:
        """The address with this last octet."""
        return f"10.83.{self.octet}.{host}"

    def twin_namespace(self, host: int) -> str:
        """The namespace of the twin with this last octet."""
        return f"{self.namespace}.{host}"

    def port(self, host: int) -> str:
        """The port of the bridge that this twin is on."""
        return f"twin{host}"

    def hardware_address(self, host: int) -> str:
        """The same each time: neighbours remember it, for half a minute beyond a power-off."""
        return f"02:62:77:00:{self.octet:02x}:{host:02x}"

    @property
    def gateway(self) -> str:
        """The default gateway of the twins, which leads nowhere."""
        return self.address(_GATEWAY)

    @property
    def _controller_end(self) -> str:
        return f"bwlab{self.octet}"

    def up(self) -> None:
        """Make the bridge and the controller's wire. What a killed command left half-made is made again."""
        if self._is_whole():
            return
        self._remove_bridge()
        inside = ["ip", "-netns", self.namespace]
        run(["ip", "netns", "add", self.namespace])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "link", "add", _BRIDGE, "type", "bridge"])
        run([*inside, "address", "add", f"{self.address(_GATEWAY)}/24", "dev", _BRIDGE])
        run([*inside, "link", "set", _BRIDGE, "up"])
        run(["ip", "netns", "exec", self.namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        end = self._controller_end
        run(["ip", "link", "add", end, "type", "veth", "peer", "name", "controller", "netns", self.namespace])
        run([*inside, "link", "set", "controller", "master", _BRIDGE, "up"])
        run(["ip", "address", "add", f"{self.controller_address}/24", "dev", end])
        run(["ip", "link", "set", end, "up"])  # last: `_is_whole` looks at it

    def attach(self, host: int) -> None:
        """Make the namespace of a twin and its wire into the bridge."""
        self.detach(host)
        namespace, port = self.twin_namespace(host), self.port(host)
        inside = ["ip", "-netns", namespace]
        run(["ip", "netns", "add", namespace])
        wire = ["ip", "-netns", self.namespace, "link"]
        run([*wire, "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace])
        run([*wire, "set", port, "master", _BRIDGE, "up"])
        run([*inside, "link", "set", "eth0", "address", self.hardware_address(host)])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "address", "add", f"{self.address(host)}/24", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        run([*inside, "route", "add", "default", "via", self.address(_GATEWAY)])

    def attach_tap(self, host: int) -> None:
        """Make the port of a VM on the bridge, for a QEMU that runs in the bridge's namespace."""
        self.detach(host)
        inside = ["ip", "-netns", self.namespace]
        run([*inside, "tuntap", "add", self.port(host), "mode", "tap"])
        run([*inside, "link", "set", self.port(host), "master", _BRIDGE, "up"])

    def detach(self, host: int) -> None:
        """Remove the namespace of a twin and its wire."""
        with suppress(LabError):  # gone already, as it goes with either end
            run(["ip", "-netns", self.namespace, "link", "delete", self.port(host)])
        _remove_namespace(self.twin_namespace(host))

    def down(self) -> None:
        """Remove everything of the lab, twins left by killed commands too."""
        for name in namespaces():
            host = name.removeprefix(f"{self.namespace}.")
            if name != host and host.isdigit():
                _remove_namespace(name)
        self._remove_bridge()

    def _is_whole(self) -> bool:
        if self.namespace not in namespaces() or not Path(f"/sys/class/net/{self._controller_end}").exists():
            return False
        links = json.loads(run(["ip", "-json", "address", "show", "dev", self._controller_end]))
        addresses = [entry.get("local") for link in links for entry in link.get("addr_info", ())]
        return self.controller_address in addresses and "UP" in links[0]["flags"]

    def _remove_bridge(self) -> None:
        if Path(f"/sys/class/net/{self._controller_end}").exists():
            run(["ip", "link", "delete", self._controller_end])
        _remove_namespace(self.namespace)


def namespaces() -> set[str]:
    """The named network namespaces of this machine."""
    folder = Path("/run/netns")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _remove_namespace(name: str) -> None:
    if name in namespaces():
        run(["ip", "netns", "delete", name])
