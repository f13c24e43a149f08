"""What cards say of themselves by their makers' own tools: NVIDIA's, AMD's, Huawei's. Pure.

AMD's and Huawei's output is read as it is published, of ROCm 6 and 7 and of driver 24 and 25. No such card was at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from boxwright.errors import BoxwrightError

# How a command ended: its exit code, and what it said on either stream.
Said = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """One card, as its maker's tool has it.

    Attributes:
        slot: Where it sits, or its number.
        name: As the tool calls it.
        driver: The version; empty where the tool does not tell.
        memory_mib: Of the card; None where it does not answer.
        trouble: What the tool calls unwell; empty where nothing is.
        uncorrected: Memory errors that could not be corrected; None where the card counts none.
        persistent: Whether the driver stays loaded without a user; None where that is no setting of this maker's.
    """

    slot: str
    name: str
    driver: str
    memory_mib: int | None
    trouble: str = ""
    uncorrected: int | None = None
    persistent: bool | None = None


@dataclass(frozen=True)
class Maker:
    """A maker of cards, and its tool.

    Attributes:
        tool: The program.
        ask: Its command lines. One that has `{}` is asked of each card that the first one names.
        read: What the answers mean; raises BoxwrightError where a tool failed or is not understood.
        no_mode: Why there is nothing to say of the driver's persistence; empty where there is.
    """

    tool: str
    ask: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Said]], list[Card]]
    no_mode: str = ""

    @property
    def counts_errors(self) -> bool:
        """Whether all its cards here count memory errors. NVIDIA's consumer cards do not."""
        return self.tool != "nvidia-smi"


_NVIDIA = "pci.bus_id,name,driver_version,memory.total,ecc.errors.uncorrected.volatile.total,persistence_mode"


def _out(tool: str, said: Said) -> str:
    if said["code"] != 0:
        words = (said["err"] or said["out"]).strip()
        raise BoxwrightError(f"{tool} ended with {said['code']}: {words[-300:]}")
    return str(said["out"])


def _count(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"[0-9]+", text) else None


def of_nvidia(answers: Sequence[Said]) -> list[Card]:
    """The cards that `nvidia-smi --query-gpu` lists, one a line."""
    lines = [line for line in _out("nvidia-smi", answers[0]).splitlines() if line.strip()]
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    if any(len(row) != len(_NVIDIA.split(",")) for row in rows):
        raise BoxwrightError(f"nvidia-smi said: {lines[0][:300]}")
    return [
        Card(row[0], row[1], row[2], _count(row[3]), uncorrected=_count(row[4]), persistent=row[5] == "Enabled")
        for row in rows
    ]


def of_amd(answers: Sequence[Said]) -> list[Card]:
    """The cards of `amd-smi static` and `amd-smi metric`: a list in ROCm 6, below `gpu_data` in ROCm 7."""
    static, metric = (_gpus(_out("amd-smi", one)) for one in answers)
    counted = {one.get("gpu"): _part(one, "ecc") for one in metric}
    return [_amd(one, counted.get(one.get("gpu"), {})) for one in static]


def _gpus(text: str) -> list[dict[str, Any]]:
    begin = re.search(r"^[\[{]", text, re.MULTILINE)  # warnings go before
    try:
        data = json.loads(text[begin.start() :] if begin else "")
    except ValueError:
        raise BoxwrightError(f"amd-smi gave no JSON: {text.strip()[-300:]}") from None
    gpus = data.get("gpu_data") if isinstance(data, dict) else data
    if not isinstance(gpus, list) or not gpus or not all(isinstance(one, dict) for one in gpus):
        raise BoxwrightError(f"amd-smi names no cards: {text.strip()[:300]}")
    return gpus


def _part(gpu: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = gpu.get(name)
    return part if isinstance(part, dict) else {}  # "N/A" where the card does not tell


def _amd(gpu: Mapping[str, Any], ecc: Mapping[str, Any]) -> Card:
    driver = _part(gpu, "driver")
    return Card(
        slot=str(_part(gpu, "bus").get("bdf", gpu.get("gpu", ""))),
        name=str(_part(gpu, "asic").get("market_name", "")),
        driver=str(driver.get("version") or driver.get("driver_version") or ""),
        memory_mib=_mebibytes(_part(gpu, "vram").get("size")),
        uncorrected=_count(ecc.get("total_uncorrectable_count")),
    )


def _mebibytes(size: object) -> int | None:
    """What AMD calls MB is MiB: 196592 of a card with 192 GiB."""
    value, unit = (size.get("value"), size.get("unit")) if isinstance(size, dict) else (size, "MB")
    count = _count(value)
    return None if count is None else count >> 20 if unit == "B" else count << 10 if unit == "GB" else count


# Of a card two rows: number, name, health; then its chip, its address, and memory, of which HBM comes last.
_CARD = re.compile(r"^\|\s*(\d+)\s+(\S+)\s*\|\s*(\S+)\s*\|")
_CHIP = re.compile(r"^\|\s*\d+(?:\s+\d+)?\s*\|\s*([0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+)\s*\|(.*)\|\s*$")
_VERSION = re.compile(r"Version:\s*(\S+)")


def of_huawei(answers: Sequence[Said]) -> list[Card]:
    """The cards in the table of `npu-smi info`, and what `npu-smi info -t ecc` counts of each."""
    table = _out("npu-smi", answers[0])
    version = _VERSION.search(table)
    rows = list(_rows(table))
    if not rows:
        raise BoxwrightError(f"npu-smi info names no cards: {table.strip()[-300:]}")
    counted = dict(_double_bit_errors(_out("npu-smi", one)) for one in answers[1:])
    return [
        Card(slot, name, version[1] if version else "", memory, "" if health == "OK" else health, counted.get(number))
        for number, name, health, slot, memory in rows
    ]


def _rows(table: str) -> list[tuple[str, str, str, str, int | None]]:
    found, lines = list[tuple[str, str, str, str, int | None]](), table.splitlines()
    for first, second in pairwise(lines):
        card, chip = _CARD.match(first), _CHIP.match(second)
        if card and chip:
            amounts = re.findall(r"\d+\s*/\s*(\d+)", chip[2])
            memory = int(amounts[-1]) if amounts and int(amounts[-1]) else None
            found.append((card[1], card[2], card[3], chip[1], memory))
    return found


def _double_bit_errors(text: str) -> tuple[str, int | None]:
    number = re.search(r"^\s*NPU ID\s*:\s*(\d+)", text, re.MULTILINE)
    counts = re.findall(r"^\s*HBM Double Bit Error Count\s*:\s*(\d+)", text, re.MULTILINE)
    return number[1] if number else "", sum(map(int, counts)) if counts else None


def numbers_of(table: str) -> list[str]:
    """The numbers of the cards in the table of `npu-smi info`."""
    return [row[0] for row in _rows(table)]


# By the maker's number on the bus.
MAKERS = {
    "10de": Maker(
        "nvidia-smi", (("nvidia-smi", f"--query-gpu={_NVIDIA}", "--format=csv,noheader,nounits"),), of_nvidia
    ),
    "1002": Maker(
        "amd-smi",
        (
            ("amd-smi", "static", "--asic", "--bus", "--driver", "--vram", "--json"),
            ("amd-smi", "metric", "--ecc", "--json"),
        ),
        of_amd,
        "amdgpu has no such mode, and keeps the cards for as long as it is loaded",
    ),
    "19e5": Maker(
        "npu-smi",
        (("npu-smi", "info"), ("npu-smi", "info", "-t", "ecc", "-i", "{}")),
        of_huawei,
        "Huawei's driver has no such mode, and keeps the cards for as long as it is loaded",
    ),
}


def asked(maker: Maker, ask: Callable[[Sequence[str]], Said]) -> Iterator[Said]:
    """Every answer of a maker's tool, in the order in which `Maker.read` takes them.

    Args:
        maker: Whose.
        ask: Runs a command line where the cards are.
    """
    numbers: list[str] = []
    for argv in maker.ask:
        if "{}" not in argv:
            said = ask(argv)
            numbers = numbers or (numbers_of(str(said["out"])) if said["code"] == 0 else [])
            yield said
            continue
        for number in numbers:
            yield ask([word.format(number) for word in argv])
