"""Many hosts in one command: a broken one stops alone, and the exit code says that some are not finished."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from as_machines import site_of_machines
from fresh_lab import fresh_lab
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

GOOD = (1, 2, 3)  # hosts that nothing is wrong with, by their numbers


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fresh_lab("test-batch") as lab:
        yield lab


def site_of(lab: Lab, twins: list[RunningTwin], folder: Path, further: str = "") -> str:
    """A site file that knows twins by their addresses, as it knows servers."""
    site = folder / "site.yml"
    site.write_text(site_of_machines("batch", lab, twins, further))
    return str(site)


def test_two_broken_hosts_of_five_stop_alone(lab: Lab, boxwright: Boxwright, tmp_path: Path) -> None:
    hardware = load_profile("lab").hardware
    specs = [TwinSpec(f"batch-{number}", "debian-12", hardware) for number in GOOD]
    specs.append(TwinSpec("batch-full", "debian-12", hardware, disk_mib=64))
    twins = lab.up(specs)
    full = twins[-1]
    gone = "  - {name: batch-gone, address: " + full.address.rsplit(".", 1)[0] + ".250}\n"
    fill = "dd if=/dev/zero of=/filler bs=1M 2>/dev/null; true"
    run(Endpoint(full.name, full.address, 22, "root", full.key, full.known_hosts, 5), fill)

    site = site_of(lab, twins, tmp_path, gone)
    ran = boxwright("provision", "--profile", "lab", "--site", site, "--yes", "--stages", "base,kernel")
    assert ran.code == Exit.PARTIAL, ran.text[-3000:]
    stages = {(line["host"], line["stage"]): line["state"] for line in ran.kind("stage")}
    for number in GOOD:
        assert stages[f"batch-{number}", "kernel"] in ("ok", "changed")
    told = {error["where"].split(" / ")[0]: error for error in ran.kind("error")}
    assert set(told) == {"batch-full", "batch-gone"}, ran.text[-3000:]
    assert "No space left" in str(told["batch-full"])


@pytest.mark.on_demand
@pytest.mark.timeout(3000)
def test_eight_bare_hosts_become_verified_boxes(lab: Lab, boxwright: Boxwright, tmp_path: Path) -> None:
    hardware = load_profile("lab").hardware
    names = [f"whole-{number}" for number in range(1, 9)]
    twins = lab.up([TwinSpec(name, f"debian-{12 + number % 2}", hardware) for number, name in enumerate(names)])
    site = site_of(lab, twins, tmp_path)
    patient = replace(boxwright, patience_s=2400)
    ran = patient("provision", "--profile", "lab", "--site", site, "--yes")
    assert ran.failed_checks == {}
    assert ran.code == Exit.OK, ran.text[-3000:]
    checked = Counter(line["host"] for line in ran.kind("check") if line["result"] == "pass")
    assert set(checked) == set(names)
    assert min(checked.values()) > 50, checked


@pytest.mark.on_demand
def test_a_batch_goes_on_after_its_controller_was_killed(lab: Lab, boxwright: Boxwright, tmp_path: Path) -> None:
    hardware = load_profile("lab").hardware
    twins = lab.up([TwinSpec(f"cut-{number}", "debian-12", hardware) for number in (1, 2, 3)])
    site = site_of(lab, twins, tmp_path)
    words = ("provision", "--profile", "lab", "--site", site, "--yes", "--stages", "base,kernel,monitoring")
    board = ("board", "--site", site)

    run = boxwright.start(*words, "--json")
    assert run.stdout
    first_ended = next(line for line in map(json.loads, run.stdout) if _has_ended(line, "base"))
    assert "at work" in {row["verdict"] for row in boxwright(*board).kind("board")}
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=30)
    cut = boxwright(*board).kind("board")
    assert ({row["state"] for row in cut}, {row["verdict"] for row in cut}) == ({"killed"}, {"stopped"})
    assert {row["host"] for row in cut} == {twin.name for twin in twins}

    again = boxwright(*words)
    assert again.code == Exit.OK, again.text[-3000:]
    redone = {
        event["resource"]
        for event in again.kind("event")
        if (event["host"], event["stage"], event["outcome"]) == (first_ended["host"], "base", "changed")
    }
    # Services are restarted behind all stages, which the killed run did not come to.
    assert redone <= {"Find services that do not run with these settings", "Restart the services of the base"}
    done = boxwright(*board).kind("board")
    assert ({row["state"] for row in done}, {row["verdict"] for row in done}) == ({"ended"}, {"provisioned"})
    for log in Path(boxwright.environment["BOXWRIGHT_STATE"], "runs").glob("*/events.jsonl"):
        assert all(json.loads(line)["kind"] for line in log.read_text().splitlines()), log


def _has_ended(line: dict[str, Any], stage: str) -> bool:
    return line.get("type") == "stage" and line["stage"] == stage and line["state"] == "changed"
