"""The linters run for real, on files made for the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boxwright import linting
from boxwright.errors import BoxwrightError

ROOT = Path(__file__).parents[2]


def test_shellcheck_is_given_the_scripts_that_have_no_suffix() -> None:
    shellcheck = linting.linters(ROOT)[-1]
    assert {"invoke", ".ci/run"} <= set(shellcheck.argv)


def test_a_missing_or_complaining_linter_fails(tmp_path: Path) -> None:
    missing = linting.run(linting.Linter("ghost", ("no-such-linter",), ""), tmp_path)
    assert not missing.ok
    assert "did not start" in missing.output
    (tmp_path / "bad.yml").write_text("a: 1\na: 2\n")
    yamllint = next(linter for linter in linting.LINTERS if linter.name == "yamllint")
    complaint = linting.run(yamllint, tmp_path)
    assert not complaint.ok
    assert "duplication of key" in complaint.output


def test_one_that_hangs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linting, "DEADLINE_S", 0.2)
    result = linting.run(linting.Linter("sleepy", ("python", "-c", "import time; time.sleep(9)"), ""), tmp_path)
    assert not result.ok
    assert "did not end within" in result.output


@pytest.mark.parametrize(
    ("name", "text", "shell"),
    [
        ("a", "#!/bin/sh\n", True),
        ("a", "#!/usr/bin/env bash\n", True),
        ("a.sh", "true\n", True),
        ("a", "#!/usr/bin/env python3\n", False),
        ("a", "#!/usr/bin/env fish\n", False),
        ("a.sh.j2", "#!/bin/sh\n", False),
        ("a", "", False),
    ],
)
def test_shell_scripts_are_told_apart(tmp_path: Path, name: str, text: str, shell: bool) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert linting.is_shell_script(path) is shell


def test_every_linter_runs_and_each_result_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "good.yml").write_text("a: 1\n")
    (tmp_path / "bad.sh").write_text("#!/bin/sh\nrm $1\n")
    chosen = tuple(linter for linter in linting.LINTERS if linter.name in {"yamllint", "ruff check"})
    monkeypatch.setattr(linting, "LINTERS", chosen)
    told: list[linting.LintResult] = []
    results = linting.run_all(tmp_path, told.append)
    assert [(result.linter.name, result.ok) for result in results] == [
        ("ruff check", True),
        ("yamllint", False),
        ("shellcheck", False),
    ]
    assert sorted(told, key=str) == sorted(results, key=str)
    assert "SC2086" in results[-1].output


def test_outside_a_clone_says_so(tmp_path: Path) -> None:
    with pytest.raises(BoxwrightError, match="git cannot list"):
        linting.known_files(tmp_path)
