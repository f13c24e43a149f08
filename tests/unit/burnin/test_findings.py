"""What was found, as series and gaps: what broke is out of bounds, and what was not looked at is no zero."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from boxwright.burnin.cards import TOOLS, Told
from boxwright.burnin.findings import KERNEL_LOG, Findings
from boxwright.burnin.loads import Pass, Worked
from boxwright.burnin.network import Stream
from boxwright.burnin.session import Sample
from boxwright.reports.measurements import Series
from boxwright.verification.cards import Card


def by_name(found: Findings) -> dict[str, Series]:
    return {one.name: one for one in found.series}


def test_every_failure_is_out_of_bounds() -> None:
    found = Findings()
    found.cpu(Worked(("cpu: wrong",), 12.0))
    found.memory(Worked(("vm: 2 bit errors", "vm: 1 bit error"), None), 1 << 30)
    found.disk("system", [Pass("", 100.0, 120.0), Pass("fio ended with code 1")], 1 << 30, direct=True)
    found.streams(Stream(1.0, True), Stream(1.0, False))
    found.node("lab-2", {"to": (None, "Connection refused"), "from": (9.4, "")})
    found.tool(TOOLS[0], Told(("gpu_burn calls card 1 FAULTY",)))
    found.counters(
        {"pcie_fatal": 1, "network.eth0": 5}, {"pcie_fatal": 2, "network.eth0": 5}, container=False, smart=False
    )
    found.kernel_log(["NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus."], container=False)
    bad = {name for name, one in by_name(found).items() if one.out_of_bounds}
    assert bad == {
        "cpu.failures", "memory.failures", "disk.system.failures", "network.controller.damaged",
        "network.node_lab_2.failures", "gpu.gpu_burn.failures", "errors.pcie_fatal", "errors.kernel_log",
    }  # fmt: skip
    assert by_name(found)["memory.failures"].note == "vm: 2 bit errors; vm: 1 bit error"
    assert by_name(found)["errors.network.eth0"].points[0].value == 0


def test_what_is_not_counted_is_a_gap_and_no_zero() -> None:
    found = Findings()
    found.counters({}, {}, container=False, smart=True)
    found.kernel_log(None, container=True)
    found.sensors([Sample(at=1)], {}, {}, container=True, asked_cards=True)
    found.tool(TOOLS[3], Told(nothing="dcgmi diag supports no test on these cards"))
    assert found.series == []
    assert {"temperatures", "Fatal PCIe errors (AER)", "health of disks (SMART)", "dcgmi diag"} <= {
        gap.what for gap in found.gaps
    }


def test_a_disk_that_expects_to_fail_breaks_the_run_though_it_did_before() -> None:
    found = Findings()
    found.counters({"disk.sda_failing": 1}, {"disk.sda_failing": 1}, container=False, smart=True)
    (series,) = found.series
    assert series.out_of_bounds


def test_temperatures_are_held_to_what_the_box_calls_critical() -> None:
    found = Findings()
    samples = [Sample(at=second, celsius={"coretemp0_core": 60 + second % 50}) for second in range(5000)]
    found.sensors(samples, {"coretemp0_core": 100.0}, {}, container=False, asked_cards=False)
    (series,) = found.series
    assert len(series.points) <= 240
    assert (series.ceiling, series.over, series.unit) == (100.0, "seconds", "°C")
    assert max(point.value for point in series.points) == 109
    assert series.out_of_bounds


def test_cards_are_told_one_by_one() -> None:
    rows = [["60", "300.0", "2", "0", "Not Active"], ["95", "410.0", "5", "0", "Active"]]
    found = Findings()
    samples = [Sample(at=float(at), cards={"0": row}) for at, row in enumerate(rows)]
    found.sensors(samples, {}, {"0": 93.0}, container=False, asked_cards=True)
    series = by_name(found)
    assert {name for name, one in series.items() if one.out_of_bounds} == {
        "gpu.0.celsius", "gpu.0.corrected", "gpu.0.slowed"
    }  # fmt: skip
    assert series["gpu.0.corrected"].points[0].value == 3
    assert series["gpu.0.watts"].ceiling is None


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ("NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', GPU has fallen off the bus.", True),
        ("pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0", True),
        ("{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0", True),
        ("mce: [Hardware Error]: Machine check events logged", True),
        ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#0_DIMM#0", True),
        ("nvme nvme0: I/O 21 QID 3 timeout, aborting", True),
        ("blk_update_request: I/O error, dev sda, sector 2048", True),
        ("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15", False),
        ("EDAC MC0: Giving out device to module skx_edac", False),
        ("mce: CPU supports 20 MCE banks", False),
        ("AER: enabled with IRQ 26", False),
    ],
)
def test_the_kernels_log_is_read_for_broken_hardware_alone(line: str, tells: bool) -> None:
    assert bool(re.search(KERNEL_LOG, line)) is tells


def test_cards_of_another_maker_are_well_behind_the_loads_or_named() -> None:
    cards = [Card(f"0000:0{n}:00.0", "AMD Instinct MI300X", "6.16.13", 196592, uncorrected=1) for n in range(3)]
    found = Findings()
    found.other_cards(cards, [cards[0], replace(cards[1], uncorrected=4, trouble="Alarm")], "amd-smi")
    series = {one.name: one for one in found.series}
    assert series["gpu.unwell"].points[0].value == 2
    assert series["gpu.unwell"].note == "0000:01:00.0: Alarm; 0000:02:00.0"  # the last one is gone
    assert [series[f"gpu.{n}.uncorrected"].points[0].value for n in (0, 1)] == [0, 3]
    assert series["gpu.1.uncorrected"].out_of_bounds
    silent = Findings()
    silent.other_cards([replace(cards[0], uncorrected=None)], [cards[0]], "amd-smi")
    assert [gap.what for gap in silent.gaps] == ["memory errors of cards (ECC)"]
