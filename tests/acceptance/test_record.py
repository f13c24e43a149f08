"""The box says truthfully what was made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testinfra.host import Host

from boxwright.factory.evidence.envelope import open_envelope
from boxwright.factory.evidence.examination import require_signer, subjects_of
from boxwright.factory.evidence.names import BILL, PROVENANCE
from boxwright.factory.evidence.names import RECEIPT as RECEIPT_FILE
from boxwright.signing import ForgedError
from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost, VerifyJob
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
    id="record.evidence",
    title="The box tells what is on it and how it was built, as it was signed",
    severity="major",
    remedy="./invoke evidence writes it anew. Was a file below /etc/boxwright changed by hand? Another controller's "
    "key counts where evidence_signers of the site names it.",
)
def test_evidence(host: Host, job: VerifyJob, evidence: Evidence) -> None:
    asked = host.run("cd %s && sha256sum %s %s && cat %s", str(Path(RECEIPT).parent), BILL, RECEIPT_FILE, PROVENANCE)
    assert asked.rc == 0, f"it is not there: {asked.stderr.strip()}"
    *sums, envelope, end = asked.stdout.split("\n")
    try:
        opened = open_envelope(f"{envelope}\n{end}".encode())
        promised = subjects_of(opened.statement)
        if job.signers:
            require_signer(opened.key, job.signers)
    except ForgedError as error:
        pytest.fail(f"{PROVENANCE}: {error}")
    there = dict(reversed(line.split()) for line in sums)
    changed = sorted(name for name in promised | there if promised.get(name) != there.get(name))
    assert not changed, f"not as it was signed for: {', '.join(changed)}"
    if not job.signers:
        raise UnprovenError(
            f"signed by {opened.key.fingerprint}: there is no key here to compare with, nor in evidence_signers"
        )
    evidence(f"{', '.join(sorted(there))}, signed by {opened.key.fingerprint}")


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
