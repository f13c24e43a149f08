"""What cards say of themselves by their makers' tools. AMD's and Huawei's output is copied in form: cards/README.md."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from boxwright.errors import BoxwrightError
from boxwright.places import ROOT
from boxwright.verification.cards import MAKERS, Card, Said, numbers_of
from boxwright.verification.check import UnprovenError

FOLDER = Path(__file__).parent / "cards"
NVIDIA, AMD, HUAWEI = MAKERS["10de"], MAKERS["1002"], MAKERS["19e5"]


def said(text: str, code: int = 0) -> Said:
    return {"code": code, "out": text if code == 0 else "", "err": "" if code == 0 else text}


def told(name: str) -> Said:
    return said((FOLDER / name).read_text())


def test_nvidias_cards_and_what_a_consumer_card_does_not_count() -> None:
    lines = (
        "00000000:17:00.0, NVIDIA H20, 580.95.05, 97871, 1, Enabled\n"
        "00000000:65:00.0, NVIDIA GeForce RTX 4090, 580.95.05, 24564, [N/A], Disabled\n"
    )
    assert NVIDIA.read([said(lines)]) == [
        Card("00000000:17:00.0", "NVIDIA H20", "580.95.05", 97871, uncorrected=1, persistent=True),
        Card("00000000:65:00.0", "NVIDIA GeForce RTX 4090", "580.95.05", 24564, persistent=False),
    ]
    (lost,) = NVIDIA.read([said("00000000:17:00.0, NVIDIA H20, 580.95.05, [Unknown Error], [N/A], Enabled\n")])
    assert lost.memory_mib is None


def test_amds_cards_of_rocm_7() -> None:
    assert AMD.read([told("amd-static-7.json"), told("amd-metric-7.json")]) == [
        Card("0000:05:00.0", "AMD Instinct MI300X", "6.16.13", 196592, uncorrected=0),
        Card("0000:26:00.0", "AMD Instinct MI300X", "6.16.13", 196592, uncorrected=3),
    ]


def test_amds_cards_of_rocm_6_behind_a_warning() -> None:
    static = "WARNING: user is missing the render group\n" + (FOLDER / "amd-static-6.json").read_text()
    metric = json.dumps([{"gpu": 0, "ecc": "N/A"}])
    assert AMD.read([said(static), said(metric)]) == [
        Card("0000:05:00.0", "AMD Instinct MI300X", "6.10.5", 196592, uncorrected=None)
    ]


@pytest.mark.parametrize(
    ("size", "mebibytes"),
    [
        ({"value": 192, "unit": "GB"}, 196608),
        ({"value": 206158430208, "unit": "B"}, 196608),
        ("N/A", None),
        ({"value": "N/A", "unit": "MB"}, None),
    ],
)
def test_amds_memory_in_whatever_it_is_told(size: object, mebibytes: int | None) -> None:
    gpu = {"gpu": 0, "asic": "N/A", "vram": {"size": size}}
    (card,) = AMD.read([said(json.dumps([gpu])), said("[{}]")])
    assert card == Card("0", "", "", mebibytes)


def test_huaweis_cards_their_health_and_their_errors() -> None:
    assert HUAWEI.read([told("npu-info.txt"), told("npu-ecc.txt")]) == [
        Card("0000:C1:00.0", "910B3", "24.1.0.3", 65536),
        Card("0000:01:00.0", "910B3", "24.1.0.3", 65536, trouble="Alarm", uncorrected=2),
    ]
    assert numbers_of((FOLDER / "npu-info.txt").read_text()) == ["0", "1"]  # and no process


@pytest.mark.parametrize(
    ("maker", "answers", "why"),
    [
        (NVIDIA, [said("No devices were found", 6)], "nvidia-smi ended with 6: No devices were found"),
        (NVIDIA, [said("something, else\n")], "nvidia-smi said: something, else"),
        (AMD, [said("amd-smi is not installed", 127), said("")], "amd-smi ended with 127: amd-smi is not installed"),
        (AMD, [said("no cards"), said("[]")], "amd-smi gave no JSON: no cards"),
        (AMD, [said('{"gpu_data": []}'), said("[]")], "amd-smi names no cards"),
        (HUAWEI, [said("dcmi module initialize failed. ret is -8005", 255)], "npu-smi ended with 255: dcmi module"),
        (HUAWEI, [said("+----+")], "npu-smi info names no cards"),
    ],
)
def test_a_tool_that_fails_or_says_something_else_is_quoted(maker: Any, answers: list[Said], why: str) -> None:
    with pytest.raises(BoxwrightError, match=why):
        maker.read(answers)


@pytest.fixture(scope="module")
def checks(request: pytest.FixtureRequest) -> ModuleType:
    """The checks themselves, whose marker is otherwise known to `verify` alone."""
    request.config.addinivalue_line("markers", "check(id): one of verify's")
    spec = importlib.util.spec_from_file_location("accelerator_checks", ROOT / "tests/acceptance/test_accelerators.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Here:
    """Runs what a check sends to a box, on this machine, with SIMULATED tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, program: str, data: Any) -> Any:
        source = f"DATA = {data!r}\n{program}"
        path = f"{self.folder}:/usr/bin:/bin"
        done = subprocess.run(
            [sys.executable, "-I", "-c", source], capture_output=True, text=True, check=True, env={"PATH": path}
        )
        return json.loads(done.stdout)


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n# SIMULATED\n{script}\n")
    path.chmod(0o755)


def run(check: Any, promised: Any, shell: Here) -> str:
    found: list[str] = []
    check(promised, shell, found.append)
    return found[0]


def test_the_checks_ask_amds_tool(checks: ModuleType, tmp_path: Path) -> None:
    tool(tmp_path, "amd-smi", f'cat "{FOLDER}/amd-$1-7.json"')
    shell, two = Here(tmp_path), checks.Promised(AMD, 2)
    assert run(checks.test_every_card_answers, two, shell) == "2 x AMD Instinct MI300X, driver 6.16.13"
    assert run(checks.test_persistence, two, shell).startswith("amdgpu has no such mode")
    with pytest.raises(AssertionError, match=r"^0000:26:00\.0: 3"):
        run(checks.test_uncorrected_errors, two, shell)
    with pytest.raises(AssertionError, match="2 of 8 cards answer"):
        run(checks.test_every_card_answers, checks.Promised(AMD, 8), shell)


def test_the_checks_ask_huaweis_tool_for_each_card(checks: ModuleType, tmp_path: Path) -> None:
    ecc = f'sed "s/: 1$/: $5/;/Count/s/: .*/: 0/" "{FOLDER}/npu-ecc.txt"'
    tool(tmp_path, "npu-smi", f'if [ "$2" = -t ]; then {ecc}; else cat "{FOLDER}/npu-info.txt"; fi')
    shell, two = Here(tmp_path), checks.Promised(HUAWEI, 2)
    assert run(checks.test_uncorrected_errors, two, shell) == "none on 2 cards; 0 have no ECC"
    with pytest.raises(AssertionError, match=r"npu-smi calls unwell: 0000:01:00\.0: Alarm"):
        run(checks.test_every_card_answers, two, shell)


def test_cards_that_should_count_errors_and_tell_none_prove_nothing(checks: ModuleType, tmp_path: Path) -> None:
    tool(
        tmp_path, "amd-smi", f'[ "$1" = metric ] && echo "[]" | sed "s/.*/[{{}}]/" || cat "{FOLDER}/amd-static-7.json"'
    )
    with pytest.raises(UnprovenError, match="amd-smi tells no memory errors of 2 of 2 cards"):
        run(checks.test_uncorrected_errors, checks.Promised(AMD, 2), Here(tmp_path))


def test_a_tool_that_is_not_there_is_named(checks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BoxwrightError, match="npu-smi ended with 127: npu-smi is not installed"):
        run(checks.test_every_card_answers, checks.Promised(HUAWEI, 8), Here(tmp_path))
