"""Models lie on the cards that serve them, by the driver's own count of what each process has there."""

from __future__ import annotations

import pytest

from boxwright.model.catalogues import ROOT
from boxwright.verification.check import UnprovenError
from boxwright.verification.job import VerifyHost
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
    found = shell.python(PROGRAM.read_text(), [one.model_dump(mode="json") for one in target.residencies])
    wrong = [one["wrong"] for one in found if one["wrong"]]
    assert not wrong, "; ".join(wrong)
    seen = [one["seen"] for one in found if one["seen"]]
    unproven = [one["unproven"] for one in found if one["unproven"]]
    if unproven:
        raise UnprovenError("; ".join([*dict.fromkeys(unproven), *seen]))
    evidence("; ".join(seen))
