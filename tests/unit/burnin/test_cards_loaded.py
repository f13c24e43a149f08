"""A burn-in of a machine with cards that leaves them cold has failed, unless somebody accepts that by name."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

from boxwright.burnin.host_burn import HostBurn
from boxwright.burnin.ring import Ring
from boxwright.burnin.verbs import Burned
from boxwright.burnin.wish import Wish
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.contract import Waiver
from boxwright.model.site import Host, Mirrors, Site, TwinSettings
from boxwright.provisioning.target import Target
from boxwright.reports.measurements import Measurements, Series

HOST = Host(name="box-1", address="192.0.2.1")
# SIMULATED: it says what gpu_burn says of so many good cards.
GPU_BURN = """#!/bin/bash
printf 'Tested %s GPUs:\\n' {count}
for number in $(seq 0 $(({count} - 1))); do printf '\\tGPU %s: OK\\n' "$number"; done
"""


class Here:
    """A session whose programs run on this machine."""

    def __init__(self, path: str = "") -> None:
        self.environment = {"PATH": path} if path else None

    def ask(self, do: str, *, argv: list[str], **_: Any) -> dict[str, Any]:
        assert do == "run"
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=self.environment)
        return {"code": done.returncode, "out": done.stdout + done.stderr, "late": False, "seconds": 1.0}


def burned(tmp_path: Path, profile: str, *, judged: int = 0, twin: bool = False) -> HostBurn:
    """The part for cards, with a SIMULATED gpu_burn that judges so many of them; without any where it is none."""
    site = Site(name="s", hosts=(HOST,), twin=TwinSettings() if twin else None)
    fleet = make_fleet(load_profile(profile), site, load_models(), load_accelerators())
    target = Target(fleet, {}, Mirrors.model_construct(), certificates=(), chain=None)
    view: Any = None  # only whole burn-ins tell it anything
    burn = HostBurn(target, HOST, Wish(("gpu",), 6), threading.Event(), view, Ring((HOST,)))
    tools = {}
    if judged:
        program = tmp_path / "gpu_burn"
        program.write_text(GPU_BURN.format(count=judged))
        program.chmod(0o755)
        tools["gpu_burn"] = str(program)
    here: Any = Here()
    burn._gpu(here, {"tools": tools}, {})
    return burn


def found(burn: HostBurn) -> dict[str, Series]:
    return {one.name: one for one in burn.findings.series}


def test_cards_that_nothing_loads_have_failed_by_name(tmp_path: Path) -> None:
    told = found(burned(tmp_path, "8x4090"))
    assert told["gpu.under_load"].out_of_bounds
    assert (told["gpu.under_load"].points[0].value, told["gpu.under_load"].floor) == (0, 8)
    assert told["gpu.programs"].note == "gpu_burn; nvbandwidth; all_reduce_perf"
    assert found(burned(tmp_path, "8xl40s"))["gpu.programs"].note.endswith("dcgmi")


def test_every_card_has_to_be_judged(tmp_path: Path) -> None:
    assert found(burned(tmp_path, "8x4090", judged=7))["gpu.under_load"].out_of_bounds
    whole = found(burned(tmp_path, "8x4090", judged=8))
    assert not whole["gpu.under_load"].out_of_bounds
    assert not whole["gpu.gpu_burn.failures"].out_of_bounds
    assert whole["gpu.programs"].out_of_bounds  # the others are missing


def test_cards_of_other_makers_have_failed_too_and_those_of_twins_are_unproven(tmp_path: Path) -> None:
    assert "not Instinct MI300X" in found(burned(tmp_path, "8xmi300x"))["gpu.under_load"].note
    twin = burned(tmp_path, "8x4090", twin=True)
    assert twin.findings.series == []
    assert len(twin.findings.gaps) == 4


def test_a_waiver_by_name_sets_it_aside_and_nothing_else(tmp_path: Path) -> None:
    measured = Measurements(
        kind="burnin", host="box-1", site="s", profile="8x4090", run="r", started_at="2026-11-01T09:00:00Z",
        seconds=1, tool="t", series=tuple(burned(tmp_path, "8x4090").findings.series),
    )  # fmt: skip
    waivers = [
        Waiver(check=f"burnin.gpu.{name}", by="Ada", reason="burned in by the maker")
        for name in ("under_load", "programs")
    ]
    for given, good in (((), False), (waivers[:1], False), (waivers, True)):
        site = Site(name="s", hosts=(HOST,), waivers=tuple(given))
        fleet = make_fleet(load_profile("8x4090"), site, load_models(), load_accelerators())
        assert Burned(HOST, measured, None, fleet.accepted("box-1")).good is good


def test_amds_own_tool_is_asked_before_and_behind_the_loads(tmp_path: Path) -> None:
    samples = Path(__file__).parents[1] / "verification/cards"
    program = tmp_path / "amd-smi"
    program.write_text(f'#!/bin/sh\n# SIMULATED\ncat "{samples}/amd-$1-7.json"\n')
    program.chmod(0o755)
    burn = burned(tmp_path, "8xmi300x")
    here: Any = Here(f"{tmp_path}:/usr/bin:/bin")
    cards = burn._other_cards(here, {"tools": {"amd-smi": str(program)}})
    assert cards is not None
    assert [card.uncorrected for card in cards] == [0, 3]
    assert burn._other_cards(here, {"tools": {}}) is None
    program.write_text("#!/bin/sh\nexit 1\n")
    assert burn._other_cards(here, {"tools": {"amd-smi": str(program)}}) is None
    reasons = [gap.reason for gap in burn.findings.gaps if gap.what == "health and memory errors of cards"]
    assert reasons == ["their maker's tool is not on the box", "amd-smi ended with 1:"]
    assert found(burn)["gpu.under_load"].out_of_bounds  # for all that, nothing loaded them


def test_a_box_without_the_driver_is_not_asked_when_its_cards_slow_down(tmp_path: Path) -> None:
    """It was, and the burn-in ended behind its loads: FileNotFoundError: 'nvidia-smi'."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n# SIMULATED\nprintf 'GPU 00000000:17:00.0\\n    GPU Slowdown Temp : 95 C\\n'\n")
    program.chmod(0o755)
    here: Any = Here(f"{tmp_path}:/usr/bin:/bin")
    burn = burned(tmp_path, "8x4090")
    assert burn._slowdown(here, {"tools": {"nvidia-smi": str(program)}}) == {"0": 95.0}
    program.unlink()
    assert burn._slowdown(here, {"tools": {}}) == {}
