"""Whether a model lies on its cards, by what the driver counts. On twins: tests/lab/test_lab_residency.py."""

from __future__ import annotations

import json
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.model.residency import CardResidency
from deploys.facts.services import MisplacedEngine
from deploys.operations.files import TEMPLATES

SIMULATED = TEMPLATES.parent / "boxwright/lab/vendors/simulated_nvidia_smi.py"
GB = 10**9
IDS = [f"GPU-00000000-0000-0000-0000-{number:012d}" for number in range(3)]
LISTING = "".join(f"GPU {number}: NVIDIA H20 (UUID: {name})\n" for number, name in enumerate(IDS))
SLICED = f"{LISTING}  MIG 1g.12gb     Device  0: (UUID: MIG-5f1c1a0e-9e6b-5a52-b1f0-2d2f4a1d7a11)\n"

Judge = Callable[..., dict[str, str]]


def wanted(**changes: Any) -> dict[str, Any]:
    told = {
        "units": ("vllm.service",),
        "container": None,
        "cards": (0, 1),
        "tool": "nvidia-smi",
        "expected_bytes": 4 * GB,
        "least_bytes": 3 * GB,
        "least_each_bytes": GB,
        "layers": None,
    }
    return CardResidency.model_validate(told | changes).model_dump(mode="json")


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """The program's judgement, where so much is on cards; processes by their groups."""
    program = runpy.run_path(str(TEMPLATES / "engine_unit/card_residency.py"))
    groups = {"10": "/system.slice/vllm.service", "11": "/system.slice/vllm.service", "12": "/user.slice"}
    groups |= {"13": "/system.slice/vllm.service.d", "14": "/system.slice/docker-5b1f00c0ffee.scope"}
    groups |= {"15": "/system.slice/ray.service/workers"}
    for pid, group in groups.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(f"1:name=systemd:{group}\n0::{group}\n")

    def judge(
        *rows: tuple[int, int | str, int | str],
        listing: str = LISTING,
        logged: tuple[int, int] | None = None,
        **changes: Any,
    ) -> dict[str, str]:
        processes = "".join(
            f"{pid}, {size // (1 << 20) if isinstance(size, int) else size}, "
            f"{IDS[card] if isinstance(card, int) else card}\n"
            for pid, size, card in rows
        )
        answers = {"-L": listing, "inspect": "5b1f00c0ffee\n"}
        inside = program["judged"].__globals__
        monkeypatch.setitem(inside, "PROC", tmp_path)
        monkeypatch.setitem(inside, "_asked", lambda words: answers.get(words[1], processes))
        monkeypatch.setitem(inside, "_layers", lambda _: logged)
        return dict(program["judged"](wanted(**changes)))

    return judge


def test_a_model_that_lies_on_its_cards_is_told_card_by_card(judged: Judge) -> None:
    found = judged((10, 2 * GB, 0), (11, 2 * GB, 1), (12, 9 * GB, 0))
    assert found == {
        "wrong": "",
        "unproven": "",
        "seen": "vllm.service: card 0 2.00 GB, card 1 2.00 GB; its model takes 4.00 GB there",
    }


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((), "vllm.service has 0.00 GB on its cards; its model takes 4.00 GB there"),
        (((12, 9 * GB, 0), (13, 9 * GB, 1)), "has 0.00 GB on its cards"),  # others' processes
        (((10, 2 * GB, 0), (99, 2 * GB, 1)), "has 2.00 GB on its cards"),  # one that has ended meanwhile
        (((10, 4 * GB, 0),), "has next to nothing on card 1"),
        (((10, 4 * GB, 2),), "it is on card 2"),
    ],
)
def test_what_lacks_is_told(judged: Judge, rows: tuple[tuple[int, int, int], ...], reason: str) -> None:
    found = judged(*rows)
    assert reason in found["wrong"]
    assert (found["seen"], found["unproven"]) == ("", "")


def test_processes_of_a_container_and_of_ray_are_its_own(judged: Judge) -> None:
    rows = (14, 2 * GB, 0), (15, 2 * GB, 1)
    assert judged(*rows)["wrong"]
    assert judged(*rows, container="vllm", units=("vllm.service", "ray.service"))["seen"]


def test_what_the_driver_does_not_count_is_not_proven(judged: Judge) -> None:
    told = judged((10, "[N/A]", 0), (11, 2 * GB, 1))
    assert "the driver does not tell how much of their memory it has" in told["unproven"]
    assert not told["wrong"]
    assert "no tool of these cards" in judged(tool=None)["unproven"]


def test_a_slice_counts_as_its_card(judged: Judge) -> None:
    slice_id = "MIG-5f1c1a0e-9e6b-5a52-b1f0-2d2f4a1d7a11"
    assert judged((10, 4 * GB, slice_id), listing=SLICED, cards=(2,))["seen"]
    assert judged((10, 4 * GB, 2), listing=SLICED, cards=(2,))["seen"]


@pytest.mark.parametrize(
    ("planned", "logged", "reason"),
    [
        ("all", (33, 33), ""),
        ("all", (12, 33), "has put 12 of 33 layers on cards, and 33 belong there"),
        (20, (20, 33), ""),
        (20, (19, 33), "has put 19 of 33 layers on cards, and 20 belong there"),
        (20, (17, 17), ""),
        ("all", None, ""),  # the log begins later, or a setting keeps it short: the driver has the last word
    ],
)
def test_layers_are_held_against_the_log(
    judged: Judge, planned: int | str, logged: tuple[int, int] | None, reason: str
) -> None:
    told = judged((10, 4 * GB, 0), (11, 4 * GB, 1), logged=logged, layers=planned)
    assert reason in told["wrong"]
    assert bool(told["wrong"]) == bool(reason)


def test_the_line_of_the_log_is_llama_cpps() -> None:
    program = runpy.run_path(str(TEMPLATES / "engine_unit/card_residency.py"))
    assert program["OFFLOADED"].search("load_tensors: offloaded 12/33 layers to GPU").groups() == ("12", "33")


def test_a_driver_that_does_not_answer_is_wrong_and_nothing_of_it_is_thrown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(TEMPLATES / "engine_unit/card_residency.py")

    def told() -> str:
        asked = json.dumps([wanted()])
        done = subprocess.run(["/usr/bin/python3", program], input=asked, capture_output=True, text=True, check=True)
        return str(json.loads(done.stdout)[0]["wrong"])

    monkeypatch.setenv("PATH", str(tmp_path))
    assert told() == "what is on the cards cannot be asked: nvidia-smi: No such file or directory"
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho Failed to initialize NVML: Driver/library version mismatch\nexit 18\n")
    tool.chmod(0o755)
    assert told() == (
        "what is on the cards cannot be asked: nvidia-smi: Failed to initialize NVML: Driver/library version mismatch"
    )


def test_the_simulated_tool_answers_what_is_asked_of_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_NVIDIA_SMI", str(tmp_path / "cards.json"))
    sleeper = subprocess.Popen(["sleep", "61.25"])
    cards = [{"name": "NVIDIA H20", "programs": [{"command": "sleep 61.25", "mib": 7}], "instances": []}]
    (tmp_path / "cards.json").write_text(json.dumps(cards))
    asking = runpy.run_path(str(TEMPLATES / "engine_unit/card_residency.py"))["ASK_PROCESSES"]
    try:
        answer = subprocess.run(
            ["/usr/bin/python3", str(SIMULATED), *asking[1:]], capture_output=True, text=True, check=True
        )
    finally:
        sleeper.kill()
        sleeper.wait()
    assert answer.stdout == f"{sleeper.pid}, 7, {IDS[0]}\n"


def test_a_fallen_engine_is_a_fact_and_a_missing_program_is_none() -> None:
    fact = MisplacedEngine()
    assert fact.process(['[{"wrong": "it fell", "unproven": "", "seen": ""}]'])
    assert not fact.process(['[{"wrong": "", "unproven": "", "seen": "there"}]'])
    done = subprocess.run(["sh", "-c", fact.command("{}")], capture_output=True, text=True, check=True)
    assert not fact.process(done.stdout.splitlines())
