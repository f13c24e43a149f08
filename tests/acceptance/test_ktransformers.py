"""What was found out about KTransformers on the box when it was installed holds for the box as it is."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.ssh import BoxShell

_ASK = """
import hashlib, json, pathlib, sys
report = pathlib.Path("/etc/boxwright/ktransformers.json")
current = pathlib.Path("/opt/boxwright/ktransformers/current")
lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
flags = next((line for line in lines if line.startswith("flags")), "")
json.dump({
    "report": json.loads(report.read_text()) if report.exists() else None,
    "environment": current.readlink().name if current.is_symlink() else "",
    "processor": hashlib.sha256(flags.encode()).hexdigest(),
}, sys.stdout)
"""
SHOWN = ("kt-kernel", "CPU", "CPU Instructions", "NUMA Topology")

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(target: VerifyHost, shell: BoxShell) -> Report:
    """The report, if it is of what is installed and of this processor."""
    told = shell.python(_ASK, None)
    found: Report | None = told["report"]
    if found is None and target.without_stack:
        raise UnprovenError(target.without_stack, because="services.stack")
    assert found is not None, "KTransformers was never examined here"
    assert found["environment"] == told["environment"], (
        f"{found['environment']} was examined, not {told['environment']}"
    )
    assert found["processor"] == told["processor"], "another processor was examined than the one that is there"
    return found


@pytest.mark.check(
    id="ktransformers.doctor",
    title="kt doctor finds the kernels, and a card",
    severity="critical",
    remedy=(
        "On the box: /opt/boxwright/ktransformers/current/bin/kt doctor --verbose. Then provision the stage "
        "ktransformers again."
    ),
    needs="ktransformers",
)
def test_doctor(target: VerifyHost, report: Report, evidence: Evidence) -> None:
    rows = {row["check"]: row for row in report["doctor"]}
    kernels, cards = rows["kt-kernel"], rows["GPU detection"]
    told = "; ".join(f"{name}: {rows[name]['value']}" for name in SHOWN if name in rows)
    assert kernels["status"] == "OK", f"kt-kernel: {kernels['value']}"
    if target.twin and cards["status"] != "OK":
        raise UnprovenError(f"a twin has no card that kt doctor could find. {told}")
    assert cards["status"] == "OK", cards["value"]
    evidence(f"{cards['value']}; {told}")


@pytest.mark.check(
    id="ktransformers.kernels",
    title="This processor computes experts as torch does, by every method that serves",
    severity="critical",
    remedy="Provision the stage ktransformers again: it examines a processor that is another one than before.",
    needs="ktransformers",
)
def test_kernels(report: Report, evidence: Evidence) -> None:
    tried = [one for one in report["trials"] if "error" in one]
    untried = [one["method"] for one in report["trials"] if "error" not in one]
    told = ", ".join(f"{one['method']} by {one['kernels']}, {one['error']:.1%} off" for one in tried)
    wrong = [one["method"] for one in tried if not one["error"] <= one["let_pass"]]
    assert not wrong, f"{', '.join(wrong)} is wrong: {told}"
    notes = sorted({one["note"] for one in tried if one["note"]})
    if notes or untried:
        why = [*notes, *(f"no trial of {method} is known" for method in untried)]
        raise UnprovenError("; ".join([*why, *([f"computed were {told}"] if told else [])]))
    evidence(told)
