"""The command as `./invoke` starts it, for the verbs that need no twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.places import ROOT


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def kind(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines of this type; anything else on standard output is an error."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        return [line for line in lines if line["type"] == name]

    @property
    def told(self) -> str:
        """Everything that it said, with each run of white space as one space."""
        return " ".join((self.out + self.err).split())


def boxwright(*words: str, cwd: Path = ROOT, **environment: str) -> Ran:
    """Run a verb to its end."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "boxwright.program", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
