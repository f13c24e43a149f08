"""Models lie on the cards that serve them, by the driver's own count of what each process has there."""

from __future__ import annotations

import pytest

from boxwright.places import ROOT
from boxwright.verification.job import VerifyHost
from boxwright.verification.judgements import evidence_of
from boxwright.verification.plugin import Evidence
from boxwright.verification.ssh import BoxShell

pytestmark = pytest.mark.usefixtures("stack")

# The one that the deploys ask when an engine has started. The box's own copy is not relied on.
PROGRAM = ROOT / "templates/engine_unit/card_residency.py"


@pytest.mark.check(
    id="engine.residency",
    title="Every model lies on the cards that serve it, and not in memory by a fallback",
    severity="critical",
    remedy=(
        "On the box: nvidia-smi, and the journal of the unit since its start; was the driver updated without a "
        "reboot? Then provision the engine's stage again: it is started anew and judged."
    ),
    needs="residencies",
)
def test_residency(target: VerifyHost, shell: BoxShell, evidence: Evidence) -> None:
    asked = [one.model_dump(mode="json") for one in target.residencies]
    evidence(evidence_of(shell.python(PROGRAM.read_text(), asked)))
