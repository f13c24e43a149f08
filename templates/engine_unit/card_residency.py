#!/usr/bin/env python3
"""Say whether the models of services lie on the cards of this machine, by what the driver counts of their processes.

Usage: card-residency < LIST

LIST is JSON: of each service `units` (of systemd, whose processes hold the model), `container` (Docker's name of the
one that does, or null), `cards` (numbers in PCI order), `tool` (nvidia-smi; null: none tells it), `expected_bytes` (of
the model on all of them, or null), `least_bytes` and `least_each_bytes` (what must be seen on all, and on each), and
`layers` (how many llama.cpp must say that it has put there, "all", or null). What is printed is a list, too: of each
`wrong` (what is not as it should be), `unproven` (why nothing can be said) and `seen`. One of the first two is empty.

An engine that has lost its cards answers all the same, only slowly: its log and its API say what it hoped for, the
driver what there is.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROC = Path("/proc")
PATIENCE_S = 60  # of the driver's tool: with a card that has fallen off the bus it hangs
LOG_LINES = 20_000  # of a start, that are looked through
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
ASK_PROCESSES = ["nvidia-smi", "--query-compute-apps=pid,used_memory,gpu_uuid", "--format=csv,noheader,nounits"]


class SilentError(Exception):
    """Something that is asked does not answer; the message says what."""


@dataclass
class Held:
    """What the driver counts of a service's processes, by the number of a card."""

    bytes: dict[int, int] = field(default_factory=dict)
    uncounted: set[int] = field(default_factory=set)  # cards with a process of which the driver tells no figure

    def on(self, cards: Sequence[int]) -> int:
        """Bytes on all of these."""
        return sum(self.bytes.get(card, 0) for card in cards)


def judged(told: dict[str, Any]) -> dict[str, str]:
    """Where the model of one service lies."""
    if told["tool"] is None:
        return _said(unproven="no tool of these cards tells which process has how much of their memory")
    try:
        held = _held(told)
    except SilentError as error:
        return _said(wrong=str(error))
    unit, cards = told["units"][0], told["cards"]
    layers = _layers(unit) if told["layers"] else None
    seen = ", ".join([f"card {card} {_gb(held.bytes.get(card, 0))}" for card in cards] + _layers_seen(layers))
    wrong = _too_few(told, held) or _not_all_layers(told["layers"], layers)
    if wrong:
        return _said(wrong=f"{unit} {wrong} ({seen})")
    if held.uncounted:
        return _said(
            unproven=f"{unit} computes on cards, and the driver does not tell how much of their memory it has ({seen})"
        )
    return _said(seen=f"{unit}: {seen}{_of_expected(told)}")


def _said(wrong: str = "", unproven: str = "", seen: str = "") -> dict[str, str]:
    return {"wrong": wrong, "unproven": unproven, "seen": seen}


def _too_few(told: dict[str, Any], held: Held) -> str:
    """What lacks on the cards; empty where enough is there, or where the driver tells no figure of a process there."""
    cards = told["cards"]
    if held.uncounted & set(cards):
        return ""
    there = held.on(cards)
    if there < told["least_bytes"]:
        elsewhere = sorted(set(held.bytes) - set(cards))
        instead = f"; it is on card {', '.join(map(str, elsewhere))}" if elsewhere else ""
        return f"has {_gb(there)} on its cards{_of_expected(told)}{instead}"
    empty = [card for card in cards if held.bytes.get(card, 0) < told["least_each_bytes"]]
    if empty:
        return f"has next to nothing on card {', '.join(map(str, empty))}{_of_expected(told)}"
    return ""


def _of_expected(told: dict[str, Any]) -> str:
    return f"; its model takes {_gb(told['expected_bytes'])} there" if told["expected_bytes"] else ""


def _not_all_layers(wanted: int | str | None, found: tuple[int, int] | None) -> str:
    """What of the layers lacks, by the engine's own log; empty where that says nothing."""
    if wanted is None or found is None:
        return ""
    least = found[1] if wanted == "all" else min(int(wanted), found[1])
    return f"has put {found[0]} of {found[1]} layers on cards, and {least} belong there" if found[0] < least else ""


def _layers_seen(layers: tuple[int, int] | None) -> list[str]:
    return [f"{layers[0]} of {layers[1]} layers by its own log"] if layers else []


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _held(told: dict[str, Any]) -> Held:
    """What the driver counts of the service's processes.

    Raises:
        SilentError: The driver, or Docker, does not tell.
    """
    cards, held = _cards(), Held()
    container = _container_id(told["container"]) if told["container"] else ""
    for line in _asked(ASK_PROCESSES).splitlines():
        pid, size, card = (part.strip() for part in (*line.split(","), "", "")[:3])
        if card not in cards or not _owns(pid, told["units"], container):
            continue
        number = cards[card]
        if size.isdigit():
            held.bytes[number] = held.bytes.get(number, 0) + (int(size) << 20)
        else:  # [N/A]: of slices, and under some hypervisors
            held.uncounted.add(number)
    return held


def _cards() -> dict[str, int]:
    """Numbers of cards by their own ids, and by those of their slices."""
    found, number = {}, -1
    for line in _asked(["nvidia-smi", "-L"]).splitlines():
        if begin := re.match(r"GPU (\d+):", line):
            number = int(begin[1])
        if own := re.search(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", line):
            found[own[1]] = number
    return found


def _asked(words: list[str]) -> str:
    """What a command prints.

    Raises:
        SilentError: It is not there, ends badly, or hangs.
    """
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    except subprocess.CalledProcessError as error:
        why = (error.stderr or error.stdout).strip() or f"exit status {error.returncode}"
    except subprocess.TimeoutExpired:
        why = f"no answer within {PATIENCE_S} s"
    except OSError as error:
        why = str(error.strerror)
    raise SilentError(f"what is on the cards cannot be asked: {words[0]}: {why}")


def _container_id(name: str) -> str:
    """The id of a container, which the groups of its processes are named by."""
    return _asked(["docker", "inspect", "--format", "{{.Id}}", name]).strip()


def _owns(pid: str, units: Sequence[str], container: str) -> bool:
    with contextlib.suppress(OSError):
        groups = [line.split(":", 2)[2].split("/") for line in (PROC / pid / "cgroup").read_text().splitlines()]
        names = {name for group in groups for name in group}
        return bool(names & set(units)) or bool(container and any(container in name for name in names))
    return False


def _layers(unit: str) -> tuple[int, int] | None:
    """How many of its layers llama.cpp says that it has put on cards; None where its log does not say, or not any more.

    Of a program that finds no card it says nothing. That none of it lies there is the driver's to tell.
    """
    invocation = _asked(["systemctl", "show", "--property=InvocationID", "--value", unit]).strip()
    reading = ["journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "--output=cat", "--no-pager"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for _, line in zip(range(LOG_LINES), process.stdout or (), strict=False):
            if found := OFFLOADED.search(line):
                process.kill()
                return int(found[1]), int(found[2])
        process.kill()
    return None


def main() -> None:
    """Judge what the standard input names; or, where the verification runs it, what it was handed as DATA."""
    asked = globals()["DATA"] if "DATA" in globals() else json.load(sys.stdin)
    json.dump([judged(told) for told in asked], sys.stdout)


if __name__ == "__main__":
    main()
