"""`.ci/weekly` as a whole. Its steps are over at once: SIMULATED by programs that say what the real ones end with."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.places import ROOT

# What each step prints last, and its exit code.
STEPS = {
    "lint": ("✓ ruff: style", 0),
    "test": ("\x1b[32m==== \x1b[1m2630 passed\x1b[0m, 2 skipped in 240.10s (0:04:00) ====\x1b[0m", 0),
    "test --on-demand": (
        "found 3 failed disks\n==== 1 failed, 283 passed, 1 error in 9000.2s (2:30:00) ====",
        1,
    ),
    "vm": ("==== 10 passed in 3000.00s (0:50:00) ====", 0),
}
SIMULATED = """#!/bin/bash
echo "$0 $*" >>{asked}
case "${{0##*/}} $*" in
    invoke\\ lint*) printf '%b\\n' '{lint[0]}'; exit {lint[1]} ;;
    invoke\\ test\\ --on-demand*) printf '%b\\n' '{on_demand[0]}'; exit {on_demand[1]} ;;
    invoke\\ test*) printf '%b\\n' '{test[0]}'; exit {test[1]} ;;
    vm*) printf '%b\\n' '{vm[0]}'; exit {vm[1]} ;;
esac
exit 99
"""


def weekly(folder: Path, steps: dict[str, tuple[str, int]], *words: str) -> tuple[int, list[str], list[str]]:
    """The exit code of a run in a folder of its own, the rows of its table, and what was asked of each step."""
    asked = folder / "asked"
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/weekly", folder / ".ci/weekly")
    named = {name.replace("test --on-demand", "on_demand"): step for name, step in steps.items()}
    for program in (folder / "invoke", folder / ".ci/vm"):
        program.write_text(SIMULATED.format(asked=asked, **named))
        program.chmod(0o755)
    done = subprocess.run(
        [folder / ".ci/weekly", *words], capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )
    _, _, table = done.stdout.partition("\nstep ")
    rows = [re.sub(r" \d+ s\b ?", ": ", " ".join(line.split())) for line in table.splitlines()[1:5]]
    return done.returncode, rows, [line.removeprefix("./").strip() for line in asked.read_text().splitlines()]


def test_it_goes_on_after_a_failure_and_tells_all_in_one_table(tmp_path: Path) -> None:
    code, rows, asked = weekly(tmp_path, STEPS)
    assert code == 1
    assert rows == [
        "lint passed: ",
        "tests passed: 2630 passed 2 skipped",
        "on-demand FAILED: 1 failed 283 passed 1 error",
        "vm passed: 10 passed",
    ]
    assert asked == [
        "invoke lint",
        "invoke test",
        "invoke test --on-demand --only not test_lab_vm",
        ".ci/vm",
    ]


def test_a_run_of_some_tests_takes_a_step_without_any_for_no_failure(tmp_path: Path) -> None:
    none = {"test": ("==== 2630 deselected in 20.0s ====", 5), "test --on-demand": STEPS["vm"]}
    code, rows, asked = weekly(tmp_path, STEPS | none, "burnin or verify")
    assert (code, rows[1]) == (0, "tests none: ")
    assert asked[2].endswith("--only (burnin or verify) and not test_lab_vm")
    assert asked[3].endswith("vm -k burnin or verify")


@pytest.mark.parametrize("code", [5, 2])
def test_a_whole_run_without_tests_has_failed(tmp_path: Path, code: int) -> None:
    ended, rows, _ = weekly(tmp_path, STEPS | {"vm": ("==== 10 deselected in 1.0s ====", code)})
    assert (ended, rows[3]) == (1, "vm FAILED: ")


def test_on_demand_a_file_is_run_whole() -> None:
    """Its tests build on each other: some of them alone would fail for want of those before them."""

    def collected(expression: str) -> set[str]:
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "tests/lab/test_lab_llama_cpp.py",
            "--collect-only",
            "-q",
            "-m",
            expression,
        ]
        told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        return {line for line in told.stdout.splitlines() if "::" in line}

    assert collected("not on_demand") < collected("on_demand") == collected("on_demand or not on_demand")
