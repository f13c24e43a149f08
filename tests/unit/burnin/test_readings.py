"""Sensors and counters, read from trees like the kernel's. They are files of the test: SIMULATED."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.burnin import readings

ATA = (
    '{"smart_status": {"passed": false}, "ata_smart_attributes": {"table": ['
    '{"id": 5, "raw": {"value": 8}}, {"id": 9, "raw": {"value": 999}}, {"id": 197, "raw": {"value": 1}}]}}'
)


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_sensors_of_one_kind_on_one_chip_are_one_with_the_least_limit(tmp_path: Path) -> None:
    chip = {"hwmon__hwmon2__name": "coretemp"}
    for number, (label, value, crit) in enumerate(
        [("Package id 0", "61000", "100000"), ("Core 0", "58000", "100000"), ("Core 1", "64000", "95000")], 1
    ):
        stem = f"hwmon__hwmon2__temp{number}"
        chip |= {f"{stem}_label": label, f"{stem}_input": value, f"{stem}_crit": crit}
    nvme = {"hwmon__hwmon3__name": "nvme", "hwmon__hwmon3__temp1_label": "Composite"}
    nvme |= {"hwmon__hwmon3__temp1_input": "38850", "hwmon__hwmon3__temp1_crit": "65261850"}
    put(tmp_path, **chip, **nvme)
    found = readings.sensors(tmp_path)
    assert {name: crit for name, (_, crit) in found.items()} == {
        "coretemp2_package_id": 100.0,
        "coretemp2_core": 95.0,
        "nvme3_composite": None,
    }
    assert readings.hottest(found["coretemp2_core"][0]) == 64.0


def test_a_thermal_zone_tells_its_critical_point(tmp_path: Path) -> None:
    zone = "thermal__thermal_zone0__"
    put(tmp_path, **{f"{zone}type": "soc", f"{zone}temp": "47000"})
    put(tmp_path, **{f"{zone}trip_point_0_type": "passive", f"{zone}trip_point_0_temp": "85000"})
    put(tmp_path, **{f"{zone}trip_point_1_type": "critical", f"{zone}trip_point_1_temp": "105000"})
    assert {name: crit for name, (_, crit) in readings.sensors(tmp_path).items()} == {"soc_zone0": 105.0}


def test_a_sensor_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    put(tmp_path, hwmon__hwmon0__name="broken", hwmon__hwmon0__temp1_input="")
    assert readings.sensors(tmp_path) == {}


def test_counters_are_sums_over_what_counts(tmp_path: Path) -> None:
    put(tmp_path, mc0__ce_count="3", mc0__ue_count="0", mc1__ce_count="4", mc1__ue_count="1")
    assert readings.edac(tmp_path) == {"memory_corrected": 7, "memory_uncorrected": 1}
    put(tmp_path / "pci", a__aer_dev_fatal="DLP 0\nTOTAL_ERR_FATAL 2", b__aer_dev_fatal="TOTAL_ERR_FATAL 1")
    assert readings.pcie(tmp_path / "pci") == {"pcie_fatal": 3}
    put(tmp_path / "cpu", cpu0__thermal_throttle__core_throttle_count="5")
    assert readings.throttled(tmp_path / "cpu") == {"throttled": 5}
    put(tmp_path, interrupts="           CPU0 CPU1\n  MCE:   1   2   Machine check exceptions\n  MCP: 9 9 polls")
    assert readings.machine_checks(tmp_path / "interrupts") == {"machine_checks": 3}


def test_a_machine_that_counts_nothing_has_no_counter_and_not_zero(tmp_path: Path) -> None:
    assert readings.edac(tmp_path) == readings.pcie(tmp_path) == readings.throttled(tmp_path) == {}
    assert readings.machine_checks(tmp_path / "none") == {}


def test_ports_that_are_down_or_lead_nowhere_do_not_count(tmp_path: Path) -> None:
    for name, state in (("eth0", "up"), ("eth1", "down"), ("lo", "unknown"), ("docker0", "up")):
        put(tmp_path, **{f"{name}__operstate": state, f"{name}__statistics__rx_errors": "2"})
    put(tmp_path, eth0__statistics__tx_errors="1")
    assert readings.network_errors(tmp_path) == {"network.eth0": 3}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ('{"smart_status": {"passed": true}, "nvme_smart_health_information_log": {"media_errors": 2}}', (0, 2)),
        (ATA, (1, 9)),
    ],
)
def test_disks_tell_what_they_lost(tmp_path: Path, told: str, found: tuple[int, int]) -> None:
    smartctl = tmp_path / "smartctl"  # SIMULATED
    smartctl.write_text(f"#!/bin/sh\ncat <<'E'\n{told}\nE\nexit 4\n")
    smartctl.chmod(0o755)
    failing, damaged = found
    assert readings.smart(str(smartctl), "sda") == {"disk.sda_failing": failing, "disk.sda_damaged": damaged}
    assert readings.smart(str(tmp_path / "none"), "sda") == {}
