"""The program that cuts cards into slices, against a SIMULATED nvidia-smi: no card is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boxwright.model.catalogues import load_accelerators

REPOSITORY = Path(__file__).parents[3]
PROGRAM = REPOSITORY / "templates/nvidia_driver/mig_slices.py"
SIMULATED = REPOSITORY / "boxwright/lab/vendors/simulated_nvidia_smi.py"
THREE = {
    "0": [{"profile": "3g.40gb", "start": 4}, {"profile": "1g.10gb", "start": 0}, {"profile": "1g.10gb", "start": 1}]
}


class Machine:
    """A machine with simulated cards, and the program on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "cards.json"
        program = PROGRAM.read_text()
        for place in ("/etc/boxwright/mig.json", "/run/boxwright/mig"):
            assert place in program
            program = program.replace(f'Path("{place}")', f'Path("{folder}{place}")')
        (folder / "etc/boxwright").mkdir(parents=True)
        (folder / "program.py").write_text(program)
        (folder / "nvidia-smi").write_text(f'#!/bin/sh\nexec {sys.executable} {SIMULATED} "$@"\n')
        (folder / "nvidia-smi").chmod(0o755)
        known = load_accelerators().find("10de:2330")
        assert known
        assert known[1].mig
        kinds = {name: {"size": kind.size, "starts": kind.starts} for name, kind in known[1].mig.kinds.items()}
        whole = {"name": "SIMULATED H100", "mig": "Disabled", "pending": "Disabled", "kinds": kinds, "instances": []}
        self.write([whole, whole, whole | {"mig": "[N/A]", "pending": "[N/A]"}])

    def write(self, cards: list[dict[str, Any]]) -> None:
        self.state.write_text(json.dumps(cards))

    def cards(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(self.state.read_text())
        return told

    def change(self, card: int, **values: Any) -> None:
        cards = self.cards()
        cards[card] |= values
        self.write(cards)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": f"{self.folder}:{os.environ['PATH']}", "SIMULATED_NVIDIA_SMI": str(self.state)}
        command = [sys.executable, str(self.folder / "program.py"), *words]
        return subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)

    def make(self, wanted: object) -> subprocess.CompletedProcess[str]:
        (self.folder / "etc/boxwright/mig.json").write_text(json.dumps(wanted))
        return self.run("make")

    def device(self, unit: str) -> str:
        return (self.folder / f"run/boxwright/mig/{unit}.env").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def slices(machine: Machine, card: int) -> set[tuple[str, int]]:
    return {(one["profile"], one["start"]) for one in machine.cards()[card]["instances"]}


def test_slices_are_made_at_their_places_and_then_left_alone(machine: Machine) -> None:
    done = machine.make(THREE)
    assert done.returncode == 0, done.stderr
    assert slices(machine, 0) == {("3g.40gb", 4), ("1g.10gb", 0), ("1g.10gb", 1)}
    assert machine.cards()[1]["mig"] == "Disabled"
    before = machine.state.read_text()
    again = machine.make(THREE)
    assert (again.returncode, again.stdout, machine.state.read_text()) == (0, "", before)


def test_each_unit_finds_a_slice_of_its_own_with_the_id_of_the_day(machine: Machine) -> None:
    machine.make(THREE)
    for unit, number in (("vllm-a", 0), ("vllm-b", 1)):
        assert machine.run("environment", unit, "0", "1g.10gb", str(number)).returncode == 0
    ids = {one["start"]: one["device"] for one in machine.cards()[0]["instances"]}
    assert machine.device("vllm-a") == f"CUDA_VISIBLE_DEVICES={ids[0]}\n"
    assert machine.device("vllm-b") == f"CUDA_VISIBLE_DEVICES={ids[1]}\n"
    machine.change(0, mig="Disabled", pending="Disabled", instances=[])  # as after a reboot
    machine.make(THREE)
    machine.run("environment", "vllm-a", "0", "1g.10gb", "0")
    assert ids[0] not in machine.device("vllm-a")


def test_a_slice_that_is_not_there_is_told_with_those_that_are(machine: Machine) -> None:
    machine.make(THREE)
    done = machine.run("environment", "vllm", "0", "1g.10gb", "2")
    assert done.returncode == 1
    assert "slice 2 of kind 1g.10gb on card 0; there are: 1g.10gb on card 0, 1g.10gb on card 0, 3g.40gb" in done.stderr
    assert not (machine.folder / "run/boxwright/mig/vllm.env").exists()


def test_other_slices_give_way_unless_something_computes_on_them(machine: Machine) -> None:
    machine.make(THREE)
    machine.change(0, in_use=True)
    done = machine.make({"0": [{"profile": "7g.80gb", "start": 0}]})
    assert done.returncode == 1
    assert "In use by another client" in done.stderr
    assert len(slices(machine, 0)) == 3
    machine.change(0, in_use=False)
    assert machine.make({"0": [{"profile": "7g.80gb", "start": 0}]}).returncode == 0
    assert slices(machine, 0) == {("7g.80gb", 0)}


def test_a_slice_that_cuda_cannot_compute_on_is_made_anew(machine: Machine) -> None:
    machine.make(THREE)
    there = machine.cards()[0]["instances"]
    machine.change(0, instances=[there[0] | {"device": None}, *there[1:]])
    assert machine.make(THREE).returncode == 0
    assert all(one["device"] for one in machine.cards()[0]["instances"])


def test_a_card_that_waits_for_a_reset_is_told_and_the_others_are_cut(machine: Machine) -> None:
    machine.change(0, needs_reset=True)
    done = machine.make(THREE | {"1": [{"profile": "7g.80gb", "start": 0}]})
    assert done.returncode == 1
    assert "card 0: MIG mode waits for a reset of the card" in done.stderr
    assert slices(machine, 1) == {("7g.80gb", 0)}


def test_a_card_that_is_to_be_whole_is_made_so(machine: Machine) -> None:
    machine.make(THREE)
    assert machine.make({}).returncode == 0
    assert [(card["mig"], card["instances"]) for card in machine.cards()[:2]] == [("Disabled", [])] * 2


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"7": THREE["0"]}, "there is no card 7"),
        ({"2": THREE["0"]}, "Not Supported"),
        ({"0": [{"profile": "3g.40gb", "start": 2}]}, "Invalid Argument"),
    ],
)
def test_what_the_driver_refuses_is_told(machine: Machine, wanted: object, message: str) -> None:
    done = machine.make(wanted)
    assert done.returncode == 1
    assert message in done.stderr


def test_without_the_driver_it_says_so(machine: Machine) -> None:
    (machine.folder / "nvidia-smi").unlink()
    done = subprocess.run(
        [sys.executable, str(machine.folder / "program.py"), "environment", "vllm", "0", "1g.10gb", "0"],
        env={"PATH": str(machine.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "mig-slices: nvidia-smi is not installed\n")
