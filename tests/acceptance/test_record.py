"""The box says truthfully what was made of it."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence

RECEIPT = "/etc/boxwright/receipt.json"
KEYS = {"profile", "site", "host", "versions", "digests", "provisioned_at", "by", "boxwright_version"}
TWIN_MARK = "/etc/boxwright-twin"


@pytest.mark.check(
    id="record.receipt",
    title="The box has the receipt of its provisioning",
    severity="major",
    remedy="Provision again: the last step writes the receipt.",
)
def test_receipt(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    status = host.run("stat --format='%%a %%U' %s && cat %s", RECEIPT, RECEIPT)
    assert status.rc == 0, f"cannot read {RECEIPT}: {status.stderr.strip()}"
    head, _, text = status.stdout.partition("\n")
    mode, owner = head.split()
    assert owner == "root", f"belongs to {owner}"
    assert not int(mode, 8) & 0o022, f"others may write it (mode {mode})"
    receipt = json.loads(text)
    missing = sorted(KEYS - receipt.keys())
    assert not missing, f"does not tell {', '.join(missing)}"
    assert receipt["profile"] == target.profile.name, f"is for the profile {receipt['profile']}"
    assert receipt["host"] == target.name, f"is for the host {receipt['host']}"
    evidence(
        f"profile {receipt['profile']}, by {receipt['by']} at {receipt['provisioned_at']}, "
        f"Boxwright {receipt['boxwright_version']}"
    )


@pytest.mark.check(
    id="record.twin",
    title="A throw-away twin says that it is one, and a real box does not",
    severity="critical",
    remedy="Is the site's twin section right? A twin proves nothing about a real machine's hardware.",
)
def test_twin_mark(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    marked = host.run("test -e %s", TWIN_MARK).rc == 0
    assert marked == target.twin, "is marked as a twin" if marked else "is no twin, though the job says so"
    evidence("a twin: its hardware is simulated" if marked else "a real machine")
