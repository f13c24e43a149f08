"""Ollama keeps its model where the profile says, and is the release that was wanted."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.ollama import DEFAULT_RELEASE
from boxwright.model.stack import Service
from boxwright.serving.ollama import placement
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.ssh import BoxShell

_ASK = """
import json, pathlib, subprocess, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
told = []
for port in DATA:
    answers = {}
    for name in ("version", "ps"):
        with opener.open(f"http://127.0.0.1:{port}/api/{name}", timeout=30) as answer:
            answers[name] = json.load(answer)
    told.append(answers)
strangers = [path for path in ("/usr/local/bin/ollama", "/usr/bin/ollama") if pathlib.Path(path).exists()]
simulated = pathlib.Path("/opt/boxwright/ollama/current/SIMULATED").exists()
json.dump({"instances": told, "strangers": strangers, "simulated": simulated}, sys.stdout)
"""

Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(target: VerifyHost, shell: BoxShell) -> Told:
    """What the instances say of themselves, asked in one command."""
    answer: Told = shell.python(_ASK, [service.engine_port for service in target.ollama])
    return answer


@pytest.mark.check(
    id="ollama.release",
    title="Ollama is the release that was wanted, and there is no second one beside it",
    severity="major",
    remedy="Provision the stage ollama again; it names what somebody else installed.",
    needs="ollama",
)
def test_release(target: VerifyHost, told: Told, evidence: Evidence) -> None:
    wanted = {service.unit: service.engine_version or DEFAULT_RELEASE for service in target.ollama}
    found = dict(zip(wanted, (one["version"]["version"] for one in told["instances"]), strict=True))
    assert found == wanted, f"found {found}, wanted {wanted}"
    assert not told["strangers"], f"beside it stands {', '.join(told['strangers'])}"
    evidence(", ".join(sorted(set(found.values()))) + (", SIMULATED" if told["simulated"] else ""))


@pytest.mark.check(
    id="ollama.residency",
    title="The model is loaded, and lies on the cards or in memory as the profile says",
    severity="critical",
    remedy="On the box: ollama ps, nvidia-smi, and the journal of the unit; then provision the stage ollama again.",
    needs="ollama",
)
def test_residency(target: VerifyHost, told: Told, evidence: Evidence) -> None:
    for service, answers in zip(target.ollama, told["instances"], strict=True):
        loaded = answers["ps"]["models"]
        assert loaded or not _stays(service), f"{service.unit} has nothing loaded"
        for one in loaded:
            wrong = _misplaced(target, service, one["size"], one["size_vram"])
            assert not wrong, f"{service.unit}: {one['name']} {wrong}"
            evidence(f"{one['name']}: {one['size_vram'] / 1e9:.2f} of {one['size'] / 1e9:.2f} GB on cards")


def _stays(service: Service) -> bool:
    """Whether the profile leaves a model loaded for good; one that sets a time may be gone by now."""
    return "OLLAMA_KEEP_ALIVE" not in {name.upper() for name in service.engine_settings}


def _misplaced(target: VerifyHost, service: Service, size: int, on_cards: int) -> str:
    wanted = placement(service, target.profile.cards_of(service))
    right = {"cards": on_cards == size, "memory": on_cards == 0, "both": 0 < on_cards < size}[wanted]
    return "" if right else f"has {on_cards} of {size} bytes on cards, and belongs there: {wanted}"
