"""Which ports a box hands on to containers or to other addresses, from what it tells of them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Forward:
    """Ports that are handed on: `first` to `last`, and by whom; every port where `first` is 0."""

    first: int
    last: int
    by: str

    @property
    def ports(self) -> range:
        """All of them."""
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        ports = "every port" if not self.first else f"port {self.first}"
        return f"{self.by} hands on {ports}" + (f" to {self.last}" if self.last > self.first else "")


def forwards(told: dict[str, Any]) -> list[Forward]:
    """What is handed on to other machines' requests; what is published on the loopback alone is not.

    Args:
        told: What `remote.forward_facts` found: `containers`, `nft` and `iptables`.
    """
    published = [one for name, ports in told["containers"] for one in _published(name, ports)]
    known = {port for one in published for port in one.ports}
    rules = [*_of_nft(told["nft"]), *_of_iptables(told["iptables"])]
    # Docker writes a rule for every port that a container publishes: the container's name says more.
    others = [one for one in rules if not one.first or not known.issuperset(one.ports)]
    return list(dict.fromkeys([*published, *others]))


def _published(name: str, ports: str) -> Iterator[Forward]:
    """`0.0.0.0:8080-8081->80-81/tcp, [::]:8080->80/tcp, 127.0.0.1:9->9/tcp, 53/udp`."""
    for part in ports.split(", "):
        outside, arrow, _ = part.partition("->")
        address, _, span = outside.rpartition(":")
        if not arrow or _is_loopback(address.strip("[]")):
            continue
        first, _, last = span.partition("-")
        yield Forward(int(first), int(last or first), f"container {name}")


def _of_nft(listed: Sequence[dict[str, Any]]) -> Iterator[Forward]:
    """Rules of nftables itself; those that iptables wrote are in its own list."""
    for item in listed:
        rule = item.get("rule")
        if rule is None:
            continue
        words = rule["expr"]
        if not any("dnat" in word or "redirect" in word for word in words):
            continue
        matches = [word["match"] for word in words if "match" in word]
        if any(_loopback_only(match) for match in matches):
            continue
        by = f"table {rule['family']} {rule['table']}"
        ports = [one for match in matches if _asks_for_port(match) for one in _spans(match["right"])]
        yield from (Forward(first, last, by) for first, last in ports or [(0, 0)])


def _asks_for_port(match: dict[str, Any]) -> bool:
    payload = match["left"].get("payload", {}) if isinstance(match["left"], dict) else {}
    return payload.get("field") == "dport" and match["op"] in ("==", "in")


def _loopback_only(match: dict[str, Any]) -> bool:
    left, right = match["left"], match["right"]
    if not isinstance(left, dict) or match["op"] != "==":
        return False
    if left.get("meta", {}).get("key") in ("iifname", "iif"):
        return bool(right == "lo")
    return left.get("payload", {}).get("field") == "daddr" and isinstance(right, str) and _is_loopback(right)


def _spans(value: Any) -> Iterator[tuple[int, int]]:
    """The ports of a match: one, a range, or a set of both. A named set could hold any."""
    if isinstance(value, int):
        yield value, value
    elif isinstance(value, dict) and "range" in value:
        first, last = value["range"]
        yield int(first), int(last)
    elif isinstance(value, dict) and "set" in value:
        for one in value["set"]:
            yield from _spans(one)
    else:
        yield 0, 0


def _of_iptables(rules: Sequence[str]) -> Iterator[Forward]:
    """`-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80`."""
    for rule in rules:
        if not re.search(r" -j (DNAT|REDIRECT)\b", rule) or re.search(r"(?<!! )-i lo\b", rule):
            continue
        to = re.search(r"(?<!! )-d (\S+)", rule)
        if to and _is_loopback(to[1].partition("/")[0]):
            continue
        ports = re.search(r"--dports? (\S+)", rule)
        chain = rule.split()[1]
        for span in ports[1].split(",") if ports else ["0"]:
            first, _, last = span.partition(":")
            yield Forward(int(first), int(last or first), f"chain {chain} of iptables")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("/")[0]).is_loopback
    except ValueError:
        return False
