"""The model that is served is the one that was published, byte for byte."""

from __future__ import annotations

import pytest

from boxwright.verification.job import VerifyHost, VerifyJob
from boxwright.verification.plugin import Evidence
from boxwright.verification.remote import source
from boxwright.verification.ssh import BoxShell
from boxwright.verification.weights import ALWAYS_HASHED_BYTES, BUDGET_S, breaches, deep_budget_s, seen


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="engine.weights",
    title="The model's files are those that were published, and nobody has touched them since",
    severity="critical",
    remedy="Remove the file and provision the stage models again, which fetches it anew; find out who changed it.",
    needs="weights",
)
def test_weights(job: VerifyJob, target: VerifyHost, shell: BoxShell, evidence: Evidence) -> None:
    budget_s = deep_budget_s(sum(file.bytes for file in target.weights)) if job.deep else BUDGET_S
    told = shell.python(
        source("weights_facts"),
        {
            "files": [file.model_dump(mode="json") for file in target.weights],
            "always_bytes": ALWAYS_HASHED_BYTES,
            "budget_s": budget_s,
            "deep": job.deep,
        },
        timeout_s=budget_s + 30,
    )
    wrong = breaches(told["files"], budget_s=budget_s)
    assert not wrong, "; ".join(wrong[:4]) + (" and more" if len(wrong) > 4 else "")
    evidence(seen(told["files"], told["seconds"]))
