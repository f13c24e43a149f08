"""Processors, NUMA nodes, memory modules and the machine's own names, from lscpu, sysfs and dmidecode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from boxwright.detection.machine import Dimm, NumaNode, Processors, System
from boxwright.detection.sections import UnreadableError, fields, json_with, whole

# Firmware that nobody filled in. Such a name identifies nothing.
_PLACEHOLDER = re.compile(
    r"(to be filled.*|default string|not specified|none|unknown|system (product name|manufacturer|serial number)|0+)?",
    re.IGNORECASE,
)
_GIB = {"MB": 1 / 1024, "GB": 1.0, "TB": 1024.0}  # dmidecode's units are powers of two
_PROCESSOR = re.compile(r"(?:CPU|PROC(?:ESSOR)?|SOCKET|NODE|P)[ _-]?([0-9])", re.IGNORECASE)
_CHANNEL = re.compile(
    r"DIMM[ _-]?P[0-9][ _-](?P<gigabyte>[A-P])[0-9]"
    r"|(?:^|[ _-])C(?P<inspur>[0-9]{1,2})D[0-9]"
    r"|(?:CHANNEL|CHAN|CH)[ _-]?(?P<named>[A-P]|[0-9]{1,2})"
    r"|DIMM[ _-]?(?P<letter>[A-P])[ _-]?[0-9]?(?![A-Z])",
    re.IGNORECASE,
)


def system(text: str) -> System:
    """The machine's names; what the maker left at its default counts as not there."""
    names = {row[0]: "" if _PLACEHOLDER.fullmatch(row[1]) else row[1] for row in fields(text, 2)}
    return System(
        vendor=names.get("sys_vendor", ""),
        product=names.get("product_name", ""),
        serial=names.get("product_serial", ""),
        board=" ".join(filter(None, (names.get("board_vendor", ""), names.get("board_name", "")))),
        bios=" ".join(filter(None, (names.get("bios_version", ""), names.get("bios_date", "")))),
    )


def processors(text: str) -> Processors:
    """What `lscpu -J` says. Older ones print a flat list, newer ones a tree."""
    values = {
        str(row.get("field", "")).rstrip(":"): str(row.get("data", "")) for row in _rows(json_with(text, "lscpu"))
    }

    def count(field: str) -> int:
        number = whole(values.get(field, ""))
        if number is None or number < 1:
            raise UnreadableError(f"no number for '{field}'")
        return number

    return Processors(
        model=values.get("Model name", ""),
        architecture=values.get("Architecture", ""),
        sockets=count("Socket(s)"),
        cores_per_socket=count("Core(s) per socket"),
        threads_per_core=count("Thread(s) per core"),
        flags=tuple(values.get("Flags", "").split()),
    )


def _rows(rows: list[object]) -> Iterator[dict[str, object]]:
    for row in rows:
        if isinstance(row, dict):
            yield row
            children = row.get("children")
            if isinstance(children, list):
                yield from _rows(children)


def numa_nodes(text: str) -> tuple[NumaNode, ...]:
    """The NUMA nodes of sysfs, in the order of their numbers."""
    nodes = []
    for row in fields(text, 4):
        number, memory = whole(row[0]), re.search(r"MemTotal:\s*([0-9]{1,18}) kB", row[3])
        if number is None or number < 0:
            continue
        distances = tuple(int(word) for word in row[2].split() if re.fullmatch(r"[0-9]{1,9}", word))
        kib = int(memory[1]) if memory else None
        nodes.append(NumaNode(id=number, cpus=row[1], memory_kib=kib, distances=distances))
    if not nodes:
        raise UnreadableError("no node")
    return tuple(sorted(nodes, key=lambda node: node.id))


def memory_kib(text: str) -> int:
    """The memory that the kernel can use."""
    match = re.search(r"^MemTotal:\s*([0-9]{1,18}) kB", text, re.MULTILINE)
    if not match:
        raise UnreadableError("no MemTotal")
    return int(match[1])


def dimms(text: str) -> tuple[Dimm, ...]:
    """The slots for memory modules, from `dmidecode -t memory`, populated or not."""
    found = []
    for block in re.split(r"^Handle ", text, flags=re.MULTILINE):
        lines = block.splitlines()
        if len(lines) < 2 or lines[1].strip() != "Memory Device":
            continue
        values = dict(re.findall(r"^\t([A-Za-z ]+): (.*)$", block, re.MULTILINE))
        found.append(_dimm(values))
    if not found:
        raise UnreadableError("no memory device")
    return tuple(found)


def _dimm(values: dict[str, str]) -> Dimm:
    slot = " ".join(filter(None, (values.get("Locator", "").strip(), values.get("Bank Locator", "").strip())))
    size = re.fullmatch(r"([0-9]{1,9}) ([MGT]B)", values.get("Size", "").strip())
    speed = values.get("Configured Memory Speed") or values.get("Configured Clock Speed") or values.get("Speed", "")
    return Dimm(
        slot=slot,
        gib=int(size[1]) * _GIB[size[2]] if size else None,
        kind=values.get("Type", "").strip() if size else "",
        mt_s=max(whole(speed) or 0, 0) or None,
        channel=_channel(slot),
    )


def _channel(slot: str) -> str | None:
    """`0A` for `CPU0_DIMM_A1` or `P0 CHANNEL A`. Makers name slots as they like; None when this is no such name."""
    channel = _CHANNEL.search(slot)
    if not channel:
        return None
    processor = _PROCESSOR.search(slot)
    return f"{processor[1] if processor else ''}{channel[channel.lastgroup or 0].upper()}"
