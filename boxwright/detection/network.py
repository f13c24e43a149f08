"""Network interfaces and the ports in use: `ip -j addr`, sysfs and `ss`."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from boxwright.detection.machine import UNKNOWN_NODE, Listener, Nic
from boxwright.detection.sections import UnreadableError, fields, whole

_LISTENER = re.compile(r"(tcp|udp)\s+\S+\s+\S+\s+\S+\s+(\S+):([0-9]{1,5})\s+\S+.*")
_MOST_STARTS = 200


def hardware_nics(text: str) -> dict[str, tuple[int, int | None]]:
    """NUMA node and speed of each interface that is a device, by name."""
    found = {}
    for row in fields(text, 4):
        node, speed = whole(row[2]), whole(row[3])
        found[row[0]] = (
            UNKNOWN_NODE if node is None else max(node, UNKNOWN_NODE),
            speed if speed and speed > 0 else None,
        )
    return found


def nics(text: str, hardware: dict[str, tuple[int, int | None]]) -> tuple[Nic, ...]:
    """The interfaces that are hardware; bridges, containers' and virtual ones are left out."""
    found = []
    for row in _links(text):
        name = row.get("ifname")
        if not isinstance(name, str) or name not in hardware:
            continue
        flags = row.get("flags")
        node, speed = hardware[name]
        found.append(
            Nic(
                name=name,
                mac=str(row.get("address", "")),
                up=isinstance(flags, list) and "LOWER_UP" in flags,
                addresses=tuple(_addresses(row)),
                mbit_s=speed,
                numa_node=node,
            )
        )
    return tuple(found)


def _links(text: str) -> list[dict[str, Any]]:
    decoder = json.JSONDecoder()
    for count, start in enumerate(re.finditer(r"\[", text)):
        if count >= _MOST_STARTS:
            break
        try:
            rows, _ = decoder.raw_decode(text, start.start())
        except ValueError:
            continue
        if isinstance(rows, list) and any(isinstance(row, dict) and "ifname" in row for row in rows):
            return [row for row in rows if isinstance(row, dict)]
    raise UnreadableError("no interfaces")


def _addresses(row: dict[str, Any]) -> list[str]:
    listed = row.get("addr_info")
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [
        f"{one['local']}/{one.get('prefixlen', '')}" for one in rows if one.get("scope") == "global" and "local" in one
    ]


def listeners(text: str) -> tuple[Listener, ...]:
    """What listens, from `ss -H -tuln`."""
    found = []
    for line in text.splitlines():
        match = _LISTENER.fullmatch(line.strip())
        if match and int(match[3]) <= 65535:
            protocol: Literal["tcp", "udp"] = "tcp" if match[1] == "tcp" else "udp"
            found.append(Listener(protocol=protocol, address=re.sub(r"[\[\]]", "", match[2]), port=int(match[3])))
    if text.strip() and not found:
        raise UnreadableError("no line of ss")
    return tuple(found)
