"""Every title, unit of a gap and note that bench and burn-in write has its Chinese on the certificate."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.bench.cards import Reading
from boxwright.bench.figures import Spread, StepFigures
from boxwright.bench.measured import Step
from boxwright.bench.measured import series as bench_series
from boxwright.burnin.cards import TOOLS, Told
from boxwright.burnin.findings import Findings
from boxwright.burnin.loads import Pass, Worked
from boxwright.burnin.network import Stream
from boxwright.burnin.readings import plain
from boxwright.burnin.session import Sample
from boxwright.reports.view import TEMPLATES, View
from boxwright.translation import table
from boxwright.verification.cards import Card

# Names of programs and standards stay as they are.
_ENGLISH = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
_NAMES = re.compile(r"dcgmi diag|gpu-burn|nccl-tests|nvbandwidth")
COUNTED = (
    "machine_checks", "memory_corrected", "memory_uncorrected", "pcie_correctable", "pcie_nonfatal", "pcie_fatal",
    "throttled", "network.eth0", "disk.sda_failing", "disk.sda_damaged",
)  # fmt: skip


def chinese(text: str) -> str:
    certificate: Any = SimpleNamespace()
    return View(certificate, "zh").term(text)


def burned() -> Findings:
    """Everything that a burn-in can find, and everything that it can miss."""
    found = Findings()
    found.cpu(Worked((), 1.0))
    found.memory(Worked((), 1.0), 1 << 30)
    for disk in ("system", "models"):
        found.disk(disk, [Pass("", 1.0, 1.0)], 1 << 30, direct=True)
    found.streams(Stream(1.0, True), Stream(1.0, True))
    found.node("lab-2", {"to": (1.0, ""), "from": (1.0, "")})
    for tool in TOOLS:
        found.tool(tool, Told(rates={"x": 1.0}))
        found.gap(f"cards under load ({tool.title})", f"{tool.name} is not on the box")
    found.under_load(0, 2, "")
    found.without_programs(["gpu_burn"])
    found.tool(TOOLS[3], Told(nothing="dcgmi diag supports no test on these cards"))
    found.counters(dict.fromkeys(COUNTED, 0), dict.fromkeys(COUNTED, 0), container=False, smart=True)
    card = Card("0000:05:00.0", "AMD Instinct MI300X", "6.16.13", 196592, uncorrected=0)
    found.other_cards([card], [card], "amd-smi")
    found.other_cards([replace(card, uncorrected=None)], [card], "amd-smi")
    found.gap("health and memory errors of cards", "their maker's tool is not on the box")
    found.gap("temperature and power of cards", "Boxwright asks NVIDIA's alone for them")
    found.kernel_log([], container=False)
    cards = {"0": ["60", "300", "0", "0", "Not Active"]}
    samples = [Sample(at=1, celsius={plain("nvme0 composite"): 40.0}, cards=cards)]
    found.sensors(samples, {}, {}, container=False, asked_cards=True)
    found.sensors([Sample(at=1, cards={"0": ["60"]})], {}, {}, container=False, asked_cards=True)
    for container in (True, False):
        for smart in (True, False):
            found.counters({}, {}, container=container, smart=smart)
        found.kernel_log(None, container=container)
        found.sensors([], {}, {}, container=container, asked_cards=True)
    return found


def swept() -> list[str]:
    spread = Spread(p50=1, p95=1, p99=1)
    figures = StepFigures(
        requests=1, failed=0, timed_out=0, why="", prompt_tokens=1, tokens_per_s=1, each_tokens_per_s=1,
        first_s=spread, gap_s=spread, seconds=spread,
    )  # fmt: skip
    steps = [Step(route, 512, 1, figures, 1.0, Reading(1, 1, 1)) for route in ("gateway", "engine")]
    return [one.title for one in bench_series(steps, 1.0)]


TITLES = sorted({*swept(), *(one.title for one in burned().series)})
GAPS = sorted({text for gap in burned().gaps for text in (f"burnin: {gap.what}", gap.reason)})
NOTES = (
    "through ssh, whose encryption may be slower than the cable",
    "through the page cache, as there is no O_DIRECT here",
    "gpu_burn judged no more of them",
    "no answer came whose speed could be measured",
    "the controller went away before its end",
    "it was interrupted",
    "the connection to the box was lost",
    "the connection that held the box's deploy lock broke",
)


@pytest.mark.parametrize("text", [*TITLES, *GAPS, *NOTES, "cpu, memory, disk, network, gpu", "what serves went on"])
def test_what_is_written_is_told_in_chinese(text: str) -> None:
    told = chinese(text)
    assert told != text
    assert not _ENGLISH.search(_NAMES.sub("", told)), told


def test_parts_are_put_together_and_names_stay() -> None:
    assert chinese("Temperature (nvme3_composite)").startswith("温度")
    assert "nvme3_composite" in chinese("Temperature (nvme3_composite)")
    assert re.fullmatch("所有回答合计.512 个词元.经网关.", chinese("All answers together (512 tokens, by the gateway)"))
    assert re.fullmatch("损坏的帧.网口 eth0.", chinese("Damaged frames (port eth0)"))
    assert chinese("a disk of nobody's (whatever)") == "a disk of nobody's (whatever)"


def test_no_term_is_for_what_nobody_writes() -> None:
    """Sentences alone: a word may be part of many."""
    sentences = {text for text in table(TEMPLATES / "measured.zh.yml") if text.count(" ") > 3}
    written = " | ".join([*TITLES, *GAPS, *NOTES])
    unused = {text for text in sentences if text not in written}
    assert unused <= {
        "words drawn anew for each request",
        "power, memory and temperature of cards",
        "the engine computes on processors",
    }
