"""The programs that load NVIDIA's cards, where a box has them, and what they say. Pure.

None of them was run on a card yet: their output is read as their makers document it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from boxwright.burnin.loads import Ended, last_words
from boxwright.model.hardware import Accelerator

# One line a card and second. What a card does not tell reads `[N/A]`.
COLUMNS = ("celsius", "watts", "corrected", "uncorrected", "too_hot")
_QUERY = (
    "index,temperature.gpu,power.draw,ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total,"
    "clocks_throttle_reasons.hw_thermal_slowdown"
)
WATCH = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits", "--loop=1"]
LIMITS = ["nvidia-smi", "--query", "--display=TEMPERATURE"]


@dataclass(frozen=True)
class Told:
    """What a program found out about the cards.

    Attributes:
        failures: What is wrong, one sentence each.
        rates: Measured speeds, by name, in GB/s.
        nothing: Why it proves nothing here; empty where it does.
        loaded: How many cards it had under load all the time, and judged.
    """

    failures: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    nothing: str = ""
    loaded: int = 0


@dataclass(frozen=True)
class Asked:
    """The cards of a machine, as its profile promises them.

    Attributes:
        count: Of all.
        names: Of each kind, `GeForce RTX 4090`.
    """

    count: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, groups: Sequence[Accelerator]) -> Asked:
        """Those of a profile's hardware."""
        return cls(sum(group.count for group in groups), tuple(group.name for group in groups))

    @property
    def consumer(self) -> bool:
        """Whether one is a GeForce, of which NVIDIA's diagnostics support the first level alone."""
        return any("GeForce" in name for name in self.names)


@dataclass(frozen=True)
class Tool:
    """A program for cards.

    Attributes:
        name: As it is found on the box.
        title: What it does, for people.
        argv: What follows its name; given the seconds that it has, and the cards.
        read: What its output means.
        share: Of the time of the part.
    """

    name: str
    title: str
    argv: Callable[[int, Asked], list[str]]
    read: Callable[[Ended], Told]
    share: float


def row(cells: list[str]) -> dict[str, float]:
    """What a line of `WATCH` tells of a card, by `COLUMNS`; what it does not tell is left out."""
    found = {}
    for name, cell in zip(COLUMNS, cells, strict=False):
        words = {"Active": 1.0, "Not Active": 0.0}
        try:
            found[name] = words[cell] if cell in words else float(cell)
        except ValueError:
            continue
    return found


def slowdown(said: str) -> dict[str, float]:
    """Degrees at which each card slows itself down, from `LIMITS`; newer drivers tell none in degrees."""
    found: dict[str, float] = {}
    for number, block in enumerate(re.split(r"^GPU [0-9A-F:.]+$", said, flags=re.MULTILINE)[1:]):
        limit = re.search(r"GPU Slowdown Temp\s*: (\d+) C", block)
        if limit:
            found[str(number)] = float(limit[1])
    return found


def burned(ended: Ended) -> Told:
    """What `gpu_burn` says of its cards: OK or FAULTY."""
    verdicts = re.findall(r"GPU (\d+): (\w+)", ended.out)
    if not verdicts:
        return Told((f"gpu_burn ended with code {ended.code} and judged no card: {last_words(ended.out)}",))
    bad = tuple(f"gpu_burn calls card {number} {verdict}" for number, verdict in verdicts if verdict != "OK")
    if ended.code and not bad:
        bad = (f"gpu_burn ended with code {ended.code}: {last_words(ended.out)}",)
    return Told(bad, loaded=len(verdicts))


def bandwidths(ended: Ended) -> Told:
    """What `nvbandwidth` measured: the sum of each of its tests."""
    rates = {name: float(value) for name, value in re.findall(r"^SUM (\w+) ([\d.]+)$", ended.out, re.MULTILINE)}
    if ended.code or not rates:
        return Told((f"nvbandwidth ended with code {ended.code}: {last_words(ended.out)}",), rates)
    return Told(rates=rates)


def collective(ended: Ended) -> Told:
    """What `all_reduce_perf` of nccl-tests measured, and whether every sum was right."""
    speed = re.search(r"^# Avg bus bandwidth\s*: ([\d.]+)", ended.out, re.MULTILINE)
    wrong = re.search(r"^# Out of bounds values\s*: (\d+) (\w+)", ended.out, re.MULTILINE)
    if ended.code or not speed or not wrong:
        return Told((f"all_reduce_perf ended with code {ended.code}: {last_words(ended.out)}",))
    bad = (f"{wrong[1]} sums over the cards were wrong",) if int(wrong[1]) else ()
    return Told(bad, {"all_reduce": float(speed[1])})


def diagnosed(ended: Ended) -> Told:
    """What NVIDIA's own diagnostics say of each card; a card that they do not support is skipped by them."""
    try:
        data = json.loads(ended.out[ended.out.index("{") :])
    except ValueError:
        return Told((f"dcgmi ended with code {ended.code}: {last_words(ended.out)}",))
    found = [
        (test["name"], result["status"].lower())
        for part in data.values()
        if isinstance(part, dict)
        for category in part.get("test_categories", [])
        for test in category.get("tests", [])
        for result in test.get("results", [])
    ]
    bad = tuple(dict.fromkeys(f"dcgmi diag: {name} failed" for name, status in found if status == "fail"))
    if not any(status in ("pass", "fail") for _, status in found):
        return Told(nothing="dcgmi diag supports no test on these cards")
    return Told(bad)


# Of NVIDIA's diagnostics the third level takes about a quarter of an hour, and half of one where cards are many.
_THIRD_LEVEL_S = 1800


def diagnostic_level(seconds: int, cards: Asked) -> int:
    """How deep `dcgmi diag` looks: GeForce cards support its first level alone, and the third wants its time."""
    if cards.consumer:
        return 1
    return 3 if seconds >= _THIRD_LEVEL_S else 2


def demanded(tool: Tool, cards: Asked) -> bool:
    """Whether no burn-in is whole without this program: of a GeForce, NVIDIA's diagnostics look at next to nothing."""
    return tool.name != "dcgmi" or not cards.consumer


TOOLS = (
    Tool("gpu_burn", "gpu-burn", lambda seconds, _: [str(seconds)], burned, 0.6),
    Tool("nvbandwidth", "nvbandwidth", lambda *_: [], bandwidths, 0.1),
    Tool(
        "all_reduce_perf", "nccl-tests",
        lambda _, cards: ["-b", "8M", "-e", "1G", "-f", "2", "-c", "1", "-g", str(cards.count)], collective, 0.1,
    ),
    Tool(
        "dcgmi", "dcgmi diag",
        lambda seconds, cards: ["diag", "--run", str(diagnostic_level(seconds, cards)), "--json"], diagnosed, 0.2,
    ),
)  # fmt: skip
