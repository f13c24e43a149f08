"""Tell, as JSON, what this machine could talk to its fellow nodes over.

Run by `python3 - NETWORK`; an empty NETWORK means the one of the address that ssh came in by.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from pathlib import Path
from typing import Any

ADAPTERS = Path("/sys/class/infiniband")


def output(*command: str) -> str:
    """What a command prints, whatever it ends with."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def addresses() -> list[tuple[dict[str, Any], IPv4Interface | IPv6Interface]]:
    """Every lasting address of every interface but the loopback."""
    links = json.loads(output("ip", "-json", "address", "show"))
    return [
        (link, ip_interface(f"{address['local']}/{address['prefixlen']}"))
        for link in links
        for address in link["addr_info"]
        if address.get("scope") == "global" and not address.get("temporary") and not address.get("deprecated")
    ]


def ports() -> list[dict[str, str]]:
    """The ports of RDMA adapters in the order of their numbers; `mlx5_2` comes before `mlx5_10`."""
    found = {
        f"{path.parts[-4]}:{path.parts[-2]}": path.read_text().rpartition(":")[2].strip()
        for path in ADAPTERS.glob("*/ports/*/state")
    }
    natural = sorted(
        found,
        key=lambda name: [
            (int(part or 0), part) if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)
        ],
    )
    return [{"name": name, "state": found[name]} for name in natural]


def main() -> None:
    """Print it."""
    there = addresses()
    network = ip_network(sys.argv[1]) if sys.argv[1] else None
    if network is None:
        mine = os.environ.get("SSH_CONNECTION", "- - - -").split()[2]
        network = next((address.network for _, address in there if str(address.ip) == mine), None)
    inside: dict[str, dict[str, Any]] = {}
    for link, address in there:
        if network and address.version == network.version and address.ip in network:
            own = {"name": link["ifname"], "address": str(address.ip), "link": "LOWER_UP" in link["flags"]}
            inside.setdefault(link["ifname"], own)  # the first address of an interface
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    told = {
        "container": output("systemd-detect-virt", "--container") != "none",
        "network": str(network) if network else None,
        "interfaces": list(inside.values()),
        "addresses": [f"{link['ifname']} {address}" for link, address in there],
        "ports": ports(),
        "default_limit": output("systemctl", "show", "--value", "--property=DefaultLimitMEMLOCK"),
        "locked_memory_ceiling_kib": None if hard == resource.RLIM_INFINITY else hard // 1024,
    }
    json.dump(told, sys.stdout)


main()
