"""What the programs for NVIDIA's cards say, in the formats that their makers document. None was run on a card yet."""

from __future__ import annotations

import json

import pytest

from boxwright.burnin import cards
from boxwright.burnin.loads import Ended

GPU_BURN = """\
Using compare file: compare.ptx
100.0%  proc'd: 3130 (39540 Gflop/s) - 3128 (39412 Gflop/s)   errors: 0 - 0   temps: 63 C - 61 C
Killing processes.. Freed memory for dev 0
done

Tested 2 GPUs:
\tGPU 0: OK
\tGPU 1: {}
"""
NVBANDWIDTH = """\
Running host_to_device_memcpy_ce.
memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)
           0         1
 0     26.03     25.94

SUM host_to_device_memcpy_ce 51.97
"""
ALL_REDUCE = """\
#       size         count      type   redop    root     time   algbw   busbw #wrong
  1073741824     268435456     float     sum      -1   5132.0  209.22  366.14      {0}
# Out of bounds values : {0} {1}
# Avg bus bandwidth    : 187.213
#
"""


def ended(out: str, code: int = 0) -> Ended:
    return Ended(code=code, out=out, late=False, seconds=1)


def test_gpu_burn_judges_each_card() -> None:
    assert cards.burned(ended(GPU_BURN.format("OK"))) == cards.Told(loaded=2)
    assert cards.burned(ended(GPU_BURN.format("FAULTY"))).failures == ("gpu_burn calls card 1 FAULTY",)
    assert cards.burned(ended("Couldn't init CUDA", 1)).failures[0].endswith("judged no card: Couldn't init CUDA")
    assert cards.burned(ended(GPU_BURN.format("OK"), 1)).failures


def test_bandwidths_are_sums_of_their_tests() -> None:
    assert cards.bandwidths(ended(NVBANDWIDTH)) == cards.Told(rates={"host_to_device_memcpy_ce": 51.97})
    assert cards.bandwidths(ended("CUDA_ERROR_NO_DEVICE", 1)).failures
    assert cards.bandwidths(ended("")).failures


def test_a_wrong_sum_over_cards_is_a_failure() -> None:
    good = cards.collective(ended(ALL_REDUCE.format(0, "OK")))
    assert (good.failures, good.rates) == ((), {"all_reduce": 187.213})
    assert cards.collective(ended(ALL_REDUCE.format(7, "FAILED"))).failures == ("7 sums over the cards were wrong",)
    assert cards.collective(ended("Test NCCL failure", 3)).failures


def diagnosis(*statuses: str) -> str:
    results = [{"gpu_ids": str(number), "status": status} for number, status in enumerate(statuses)]
    tests = [{"name": "Memory", "results": results}]
    return json.dumps({"DCGM GPU Diagnostic": {"test_categories": [{"category": "Hardware", "tests": tests}]}})


def test_what_dcgm_skips_is_not_green() -> None:
    assert cards.diagnosed(ended(diagnosis("Pass", "Pass"))) == cards.Told()
    assert cards.diagnosed(ended(diagnosis("Pass", "Fail"), 226)).failures == ("dcgmi diag: Memory failed",)
    assert cards.diagnosed(ended(diagnosis("Skip", "Skip"))).nothing
    assert cards.diagnosed(ended("Error: unable to establish a connection", 1)).failures


def test_diagnostics_go_as_deep_as_the_cards_support_and_the_time_allows() -> None:
    consumer, data_centre = cards.Asked(8, ("GeForce RTX 4090",)), cards.Asked(8, ("L40S",))
    (dcgmi,) = (tool for tool in cards.TOOLS if tool.name == "dcgmi")
    assert dcgmi.argv(3600, consumer) == ["diag", "--run", "1", "--json"]
    assert dcgmi.argv(60, data_centre) == ["diag", "--run", "2", "--json"]
    assert dcgmi.argv(3600, data_centre) == ["diag", "--run", "3", "--json"]
    assert [cards.demanded(dcgmi, one) for one in (consumer, data_centre)] == [False, True]
    assert all(cards.demanded(tool, consumer) for tool in cards.TOOLS if tool is not dcgmi)


def test_a_line_of_a_card_is_read_and_what_it_does_not_tell_left_out() -> None:
    line = ["63", "412.50", "0", "0", "Not Active"]
    assert cards.row(line) == {"celsius": 63, "watts": 412.5, "corrected": 0, "uncorrected": 0, "too_hot": 0}
    assert cards.row(["71", "[N/A]", "[N/A]", "[N/A]", "Active"]) == {"celsius": 71, "too_hot": 1}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("        GPU Slowdown Temp                 : 93 C", {"0": 93.0, "1": 93.0}),
        ("        GPU Slowdown T.Limit Temp         : -2 C", {}),
        ("        GPU Slowdown Temp                 : N/A", {}),
    ],
)
def test_the_degrees_of_a_slowdown_are_the_cards_own(line: str, found: dict[str, float]) -> None:
    block = (
        "GPU 00000000:{:02X}:00.0\n    Temperature\n        GPU Current Temp                  : 35 C\n" + line + "\n"
    )
    assert cards.slowdown("Attached GPUs : 2\n" + block.format(0x18) + block.format(0x3B)) == found
