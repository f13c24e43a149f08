"""A whole box with Ollama: provisioned, verified, and nothing to do the second time. Ollama itself is SIMULATED there,
unless BOXWRIGHT_OLLAMA_TARBALL names a genuine archive. On demand: of every change, test_lab_provision.py takes a whole
box with llama.cpp there, and test_lab_ollama.py a bare host to Ollama."""

from __future__ import annotations

import json
import os

import pytest
from lab_command import Boxwright
from test_lab_provision import SNAPSHOT, changed, on_twin

from boxwright.errors import Exit

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1500)]

SIMULATED = not os.environ.get("BOXWRIGHT_OLLAMA_TARBALL")
TWIN = pytest.mark.parametrize("twin_site", [("test-ollama-box", "debian-12")], indirect=True, ids=["12"])
STATE = SNAPSHOT.replace("llama-server", "ollama ollama-guard")


@TWIN
def test_a_box_with_ollama_is_verified_and_then_left_alone(boxwright: Boxwright, twin_site: str) -> None:
    words = ("provision", "--profile", "lab-ollama", "--site", twin_site, "--yes")
    first = boxwright(*words)
    assert first.code == Exit.OK, first.text[-4000:]
    checks = {line["id"]: line for line in first.kind("check")}
    results = {name: line["result"] for name, line in checks.items()}
    assert {name: result for name, result in results.items() if result not in ("pass", "unproven")} == {}
    proven = ("engine.model", "engine.guarded", "engine.stream", "gateway.ollama", "chat_page.chat")
    for name in (*proven, "ollama.release", "ollama.residency", "ollama.watched"):
        assert results[name] == "pass", name
    assert ("SIMULATED" in str(checks["ollama.release"]["evidence"])) == SIMULATED

    before = on_twin(boxwright, twin_site, STATE)
    second = boxwright(*words)
    assert second.code == Exit.OK, second.text[-4000:]
    assert changed(second) == []
    assert on_twin(boxwright, twin_site, STATE) == before
    receipt = json.loads(on_twin(boxwright, twin_site, "cat /etc/boxwright/receipt.json"))
    assert receipt["versions"]["ollama"].startswith("0.33.0-")
    assert ("SIMULATED" in receipt["versions"]["ollama"]) == SIMULATED
