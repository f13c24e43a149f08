"""What the tests on twins share: a lab of their own, and the command as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from boxwright.model.catalogues import ROOT


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    lines: list[dict[str, Any]]
    text: str

    def kind(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines of this type."""
        return [line for line in self.lines if line.get("type") == name]


@dataclass(frozen=True)
class Boxwright:
    """Runs verbs with a state directory and a site of their own."""

    environment: dict[str, str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a verb."""
        argv = [str(Path(sys.executable).with_name("invoke")), *words]
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self.environment
        )

    def __call__(self, *words: str) -> Ran:
        """Run a verb with `--json` to its end."""
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=840)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return Ran(process.returncode, lines, out + err)


@pytest.fixture(scope="module")
def boxwright(tmp_path_factory: pytest.TempPathFactory) -> Boxwright:
    """The command, with vault password and run logs of the test's own."""
    home = tmp_path_factory.mktemp("home")
    password = home / "vault-password"
    password.write_text("a password of the tests\n")
    password.chmod(0o600)
    own = {
        "BOXWRIGHT_VAULT_PASSWORD_FILE": str(password),
        "BOXWRIGHT_STATE": str(home / "state"),
        "PYTHONPATH": str(ROOT),
    }
    return Boxwright({**os.environ, **own})


@pytest.fixture(scope="module")
def twin_site(
    tmp_path_factory: pytest.TempPathFactory, boxwright: Boxwright, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A site of one twin; `request.param` is its name and distribution."""
    name, distribution = request.param
    path = tmp_path_factory.mktemp("site") / "site.yml"
    path.write_text(f"name: {name}\ntwin: {{distribution: {distribution}}}\nhosts: [{{name: {name}-1}}]\n")
    yield str(path)
    boxwright("lab.down", "--site", str(path))
