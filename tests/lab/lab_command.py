"""The command as a person runs it, for the tests on twins."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from boxwright.places import ROOT

# What no twin can prove: its clock, its disk and its kernel are the controller's.
UNPROVEN_ON_A_TWIN = frozenset({"clock.synchronised", "disks.health", "logs.kernel"})


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    lines: list[dict[str, Any]]
    text: str

    def kind(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines of this type."""
        return [line for line in self.lines if line.get("type") == name]

    @property
    def odd_checks(self) -> dict[str, str]:
        """The checks that ended in another way than they do on a twin of a box that is right, with what was found."""
        return {
            check["id"]: f"{check['result']}: {check['evidence']}"
            for check in self.kind("check")
            if check["result"] != ("unproven" if check["id"] in UNPROVEN_ON_A_TWIN else "pass")
        }

    @property
    def failed_on_hosts(self) -> dict[tuple[str, str], str]:
        """What did not pass and is no lack of a twin, by host and check, with what was found."""
        return {
            (check["host"], check["id"]): str(check["evidence"])
            for check in self.kind("check")
            if check["result"] not in ("pass", "unproven")
        }

    @property
    def failed_checks(self) -> dict[str, str]:
        """The checks that neither hold nor are waived, with what was found."""
        bad = (check for check in self.kind("check") if check["result"] not in ("pass", "waived"))
        return {check["id"]: f"{check['result']}: {check['evidence']}" for check in bad}


@dataclass(frozen=True)
class Boxwright:
    """Runs verbs with a state directory and a site of their own."""

    environment: dict[str, str]
    patience_s: int = 840  # for one verb

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a verb."""
        # A shell starts its background jobs with SIGINT ignored, and so would be what the tests start.
        argv = ["env", "--default-signal=INT", sys.executable, "-P", "-m", "boxwright.program", *words]
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self.environment
        )

    def __call__(self, *words: str) -> Ran:
        """Run a verb with `--json` to its end."""
        process = self.start(*words, "--json")
        try:
            out, err = process.communicate(timeout=self.patience_s)
        finally:
            if process.poll() is None:  # its time is up, or the tests were interrupted: it would go on without them
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=60)
                process.kill()
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return Ran(process.returncode, lines, out + err)
