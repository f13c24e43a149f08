#!/usr/bin/python3
"""nvidia-smi, SIMULATED: the cards, slices (MIG) and processes of a machine that has none, and no line of NVIDIA's own.

What it prints is shaped after NVIDIA's MIG guide. Its cards stand in the file that SIMULATED_NVIDIA_SMI names, or in
/var/lib/simulated-nvidia-smi.json: a list, each with `name`, `mig` ("Enabled", "Disabled", "[N/A]"), `pending`,
`needs_reset` (as Ampere's cards do, while something uses them), `kinds` (of slices: size and starts) and `instances`. A
slice has another id each time it is made, as the real ones do. `programs` says who computes on a card: of each
`command` (a part of its command line) and `mib` (of the card's memory, in whole MiB, that every process of it has;
null: the driver does not tell).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("SIMULATED_NVIDIA_SMI", "/var/lib/simulated-nvidia-smi.json"))
INVALID, NOT_FOUND, IN_USE = 2, 6, 19


def say(text: str) -> None:
    """Print a line."""
    print(text)  # noqa: T201 - a program of its own


def stop(code: int, text: str) -> None:
    """End with a message."""
    say(text)
    raise SystemExit(code)


def uuid_of(number: int) -> str:
    """The id of a card."""
    return f"GPU-00000000-0000-0000-0000-{number:012d}"


def listed(cards: list[dict[str, Any]]) -> None:
    """`nvidia-smi -L`."""
    for number, card in enumerate(cards):
        say(f"GPU {number}: {card['name']} (UUID: {uuid_of(number)})")
        usable = sorted((one for one in card["instances"] if one["device"]), key=lambda one: one["start"])
        for place, one in enumerate(usable):
            say(f"  MIG {one['profile']:<9}  Device {place:>2}: (UUID: {one['device']})")


def instances(cards: list[dict[str, Any]], number: int) -> None:
    """`nvidia-smi mig -lgi`."""
    there = cards[number]["instances"]
    if not there:
        stop(NOT_FOUND, "No GPU instances found: Not Found")
    say("+----------------------------------------------------+")
    say("| GPU instances:                                     |")
    say("| GPU   Name          Profile  Instance   Placement  |")
    say("|                       ID       ID       Start:Size |")
    say("|====================================================|")
    for place, one in enumerate(there, start=1):
        size = cards[number]["kinds"][one["profile"]]["size"]
        say(f"|   {number}  MIG {one['profile']:<11}  19      {place:>3}          {one['start']}:{size}     |")
        say("+----------------------------------------------------+")


def processes(cards: list[dict[str, Any]]) -> None:
    """`nvidia-smi --query-compute-apps`: of the programs that a card is said to have, those that run."""
    for number, card in enumerate(cards):
        for program in card.get("programs", []):
            size = "[N/A]" if program["mib"] is None else program["mib"]
            for pid in running(program["command"]):
                say(f"{pid}, {size}, {uuid_of(number)}")


def running(command: str) -> list[str]:
    """Processes with this in their command line."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = line.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command in words and int(line.parent.name) != os.getpid():
                found.append(line.parent.name)
    return sorted(found, key=int)


def create(card: dict[str, Any], number: int, wanted: str) -> None:
    """`nvidia-smi mig -cgi … -C`; as the real one, it keeps those that were made before one that cannot be."""
    for text in wanted.split(","):
        profile, _, told = text.partition(":")
        kind = card["kinds"].get(profile)
        if kind is None or (told and int(told) not in kind["starts"]):
            stop(INVALID, f"Unable to create a GPU instance on GPU {number} using profile {text}: Invalid Argument")
        taken = {
            part
            for one in card["instances"]
            for part in range(one["start"], one["start"] + card["kinds"][one["profile"]]["size"])
        }
        starts = [int(told)] if told else kind["starts"]
        free = [start for start in starts if not taken & set(range(start, start + kind["size"]))]
        if not free:
            stop(
                IN_USE, f"Unable to create a GPU instance on GPU {number} using profile {text}: Insufficient Resources"
            )
        card["instances"].append({"profile": profile, "start": free[0], "device": f"MIG-{uuid.uuid4()}"})
        say(
            f"Successfully created GPU instance ID {len(card['instances'])} on GPU {number} using profile MIG {profile}"
        )


def remove(card: dict[str, Any], number: int, what: str) -> None:
    """`nvidia-smi mig -dci` and `-dgi`."""
    there = [one for one in card["instances"] if one["device"] or what == "-dgi"]
    if not there:
        stop(NOT_FOUND, f"No {'compute' if what == '-dci' else 'GPU'} instances found: Not Found")
    if card.get("in_use") or (what == "-dgi" and any(one["device"] for one in there)):
        stop(IN_USE, f"Unable to destroy instances on GPU {number}: In use by another client")
    if what == "-dgi":
        card["instances"] = []
    for one in card["instances"]:
        one["device"] = None


def switch(card: dict[str, Any], number: int, mode: str) -> None:
    """`nvidia-smi -mig`."""
    if card["mig"] == "[N/A]":
        stop(3, f"Unable to enable MIG Mode for GPU {number}: Not Supported")
    card["pending"] = "Enabled" if mode == "1" else "Disabled"
    if card.get("needs_reset"):
        say(f"Warning: MIG mode is in pending enable state for GPU {number}: In use by another client")
        return
    card["mig"], card["instances"] = card["pending"], []
    say(f"{card['mig']} MIG Mode for GPU {number}")


def main(words: list[str]) -> None:
    """Answer one command line."""
    cards = json.loads(STATE.read_text())
    number = int(words[words.index("-i") + 1]) if "-i" in words else -1
    if words == ["-L"]:
        listed(cards)
    elif words[0] == "--query-gpu=index,mig.mode.current,mig.mode.pending":
        for place, card in enumerate(cards):
            say(f"{place}, {card['mig']}, {card['pending']}")
    elif words[0] == "--query-compute-apps=pid,used_memory,gpu_uuid":
        processes(cards)
        return  # by whoever asks at the same time, the file is not written meanwhile
    elif "-mig" in words:
        switch(cards[number], number, words[-1])
    elif words[0] != "mig":
        stop(INVALID, f"SIMULATED nvidia-smi does not know: {' '.join(words)}")
    elif cards[number]["mig"] != "Enabled":
        stop(NOT_FOUND, "No MIG-enabled devices found.")
    elif words[-1] == "-lgi":
        instances(cards, number)
    elif "-cgi" in words:
        try:
            create(cards[number], number, words[words.index("-cgi") + 1])
        finally:
            STATE.write_text(json.dumps(cards, indent=1))
    else:
        remove(cards[number], number, words[-1])
    STATE.write_text(json.dumps(cards, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
