#!/usr/bin/env python3
"""Cut NVIDIA's cards into the slices (MIG) that /etc/boxwright/mig.json names, and tell engines which is theirs.

Usage: mig-slices make
       mig-slices environment UNIT CARD PROFILE NUMBER

`make` switches MIG mode on where slices are wanted and off elsewhere, and makes the slices at their places. What is
there already stays; a card with other slices is emptied first, which its driver refuses while something computes on it.
Slices do not outlast a reboot, and on some cards the mode does not either: so a unit runs this at every boot.

`environment` finds, of the slices of a kind on a card, the one of this number, and writes the variable by which CUDA
sees it alone to /run/boxwright/mig/UNIT.env. A slice has another id each time it is made, so this is asked at every
start.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

WANTED = Path("/etc/boxwright/mig.json")  # by a card's number in PCI order: its slices, each with profile and start
FOLDER = Path("/run/boxwright/mig")
_NOTHING_THERE = 6  # nvidia-smi's exit code of listing or removing where there is nothing

_CARD = re.compile(r"^GPU +(\d+):")
_DEVICE = re.compile(r"^ +MIG +(\S+) +Device +\d+: \(UUID: (MIG-[^)]+)\)")
# | GPU, name, profile id, instance id, start:size |
_INSTANCE = re.compile(r"\| +(\d+) +MIG +(\S+) +\d+ +\d+ +(\d+):\d+ +\|")


class FailedError(Exception):
    """It cannot be done; the message says why."""


def nvidia_smi(*words: str, allowed: tuple[int, ...] = (0,)) -> str:
    """What nvidia-smi prints.

    Raises:
        FailedError: It is not there, or ends otherwise than it may.
    """
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False, timeout=300)
    except FileNotFoundError:
        raise FailedError("nvidia-smi is not installed") from None
    except subprocess.TimeoutExpired:
        raise FailedError(f"nvidia-smi {' '.join(words)} did not end within 300 s") from None
    if done.returncode not in allowed:
        said = " ".join((done.stdout + done.stderr).split())
        raise FailedError(f"nvidia-smi {' '.join(words)} ended with {done.returncode}: {said}")
    return done.stdout


def modes() -> dict[int, tuple[str, str]]:
    """MIG mode of each card, as it is and as it will be behind a reset; a card without slices has neither."""
    rows = nvidia_smi("--query-gpu=index,mig.mode.current,mig.mode.pending", "--format=csv,noheader").splitlines()
    cells = [[cell.strip() for cell in row.split(",")] for row in rows if row.strip()]
    return {int(card): (current, pending) for card, current, pending in cells}


def instances(card: int) -> set[tuple[str, int]]:
    """The slices of a card: kind, and where it begins."""
    told = nvidia_smi("mig", "-i", str(card), "-lgi", allowed=(0, _NOTHING_THERE))
    return {(kind, int(start)) for number, kind, start in _INSTANCE.findall(told) if int(number) == card}


def devices() -> list[tuple[int, str, str]]:
    """What CUDA can compute on: card, kind of slice, and its id."""
    found, card = [], -1
    for line in nvidia_smi("-L").splitlines():
        if head := _CARD.match(line):
            card = int(head[1])
        elif device := _DEVICE.match(line):
            found.append((card, device[1], device[2]))
    return found


def switch(card: int, current: str, *, on: bool) -> None:
    """Have a card in MIG mode, or not.

    Raises:
        FailedError: It does not have the mode, or not yet.
    """
    wanted = "Enabled" if on else "Disabled"
    if current == wanted or (not on and current != "Enabled"):
        return
    said = nvidia_smi("-i", str(card), "-mig", "1" if on else "0")
    current, pending = modes()[card]
    if current == wanted:
        say(f"card {card}: MIG mode {wanted.lower()}")
    elif pending == wanted:
        raise FailedError(
            f"card {card}: MIG mode waits for a reset of the card, and something uses it: reboot the machine"
        )
    else:
        raise FailedError(f"card {card}: MIG mode stayed {current}: {' '.join(said.split())}")


def emptied(card: int) -> None:
    """Have no slices on a card.

    Raises:
        FailedError: Something computes on one.
    """
    for what in ("-dci", "-dgi"):
        nvidia_smi("mig", "-i", str(card), what, allowed=(0, _NOTHING_THERE))


def cut(card: int, slices: list[dict[str, Any]]) -> None:
    """Have these slices on a card, and no others.

    Raises:
        FailedError: The driver does not make them.
    """
    wanted = {(one["profile"], one["start"]) for one in slices}
    if instances(card) == wanted and usable(card) == sorted(kind for kind, _ in wanted):
        return
    emptied(card)
    told = ",".join(f"{one['profile']}:{one['start']}" for one in slices)
    nvidia_smi("mig", "-i", str(card), "-cgi", told, "-C")
    there = instances(card)
    if there != wanted:
        raise FailedError(f"card {card}: wanted the slices {told}, and there are {sorted(there)}")
    say(f"card {card}: made {told}")


def usable(card: int) -> list[str]:
    """The kinds of slices of a card that CUDA can compute on: one without a compute instance is none of them."""
    return sorted(kind for number, kind, _ in devices() if number == card)


def make() -> None:
    """Cut every card as it is wanted; one that fails keeps the others from nothing.

    Raises:
        FailedError: One of them is not as it is wanted.
    """
    wanted = {int(card): slices for card, slices in json.loads(WANTED.read_text()).items()}
    states = modes()
    problems = [f"there is no card {card}" for card in sorted(set(wanted) - set(states))]
    for card, (current, _) in sorted(states.items()):
        try:
            if card not in wanted and current == "Enabled":
                emptied(card)
            switch(card, current, on=card in wanted)
            if card in wanted:
                cut(card, wanted[card])
        except FailedError as problem:
            problems.append(str(problem))
    if problems:
        raise FailedError("; ".join(problems))


def environment(unit: str, card: int, kind: str, number: int) -> None:
    """Write down which slice a unit computes on.

    Raises:
        FailedError: There is no such slice.
    """
    there = devices()
    alike = [device for own, name, device in there if (own, name) == (card, kind)]
    if number >= len(alike):
        seen = ", ".join(f"{name} on card {own}" for own, name, _ in there) or "none at all"
        raise FailedError(f"{unit} computes on slice {number} of kind {kind} on card {card}; there are: {seen}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    draft = FOLDER / f".{unit}.new"
    draft.write_text(f"CUDA_VISIBLE_DEVICES={alike[number]}\n")
    draft.replace(FOLDER / f"{unit}.env")


def say(text: str) -> None:
    """Tell the journal."""
    print(text, flush=True)  # noqa: T201 - a program of its own on the box


def main(words: list[str]) -> int:
    """Do what is asked."""
    try:
        if words == ["make"]:
            make()
        elif len(words) == 5 and words[0] == "environment":
            environment(words[1], int(words[2]), words[3], int(words[4]))
        else:
            print(__doc__, file=sys.stderr)  # noqa: T201
            return 2
    except FailedError as problem:
        print(f"mig-slices: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
