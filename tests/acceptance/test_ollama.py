"""Ollama keeps its model where the profile says, and is the release that was wanted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

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

PROMETHEUS = "http://127.0.0.1:9090/api/v1/query?query="

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
    remedy="On the box: curl 127.0.0.1:8000/api/ps, nvidia-smi, the journal; then provision the stage ollama again.",
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


@pytest.mark.check(
    id="ollama.watched",
    title="Prometheus knows whether Ollama answers and where its model lies",
    severity="major",
    remedy="On the box: systemctl list-timers; journalctl -u with the engine's unit and -measure.",
    needs="ollama",
)
def test_it_is_watched(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    # Of a box that has just been provisioned, the timer, the exporter and Prometheus have each to come round once.
    deadline = time.monotonic() + 75 + target.profile.monitoring.scrape_interval_s
    wanted = {service.unit for service in target.ollama}
    while True:
        answer = host.check_output("curl -s --fail --noproxy '*' --max-time 10 %s", f"{PROMETHEUS}boxwright_engine_up")
        found = {one["metric"]["unit"]: one["value"][1] for one in json.loads(answer)["data"]["result"]}
        if wanted <= set(found) or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert {unit: found.get(unit) for unit in wanted} == dict.fromkeys(wanted, "1"), f"Prometheus knows of {found}"
    evidence(f"boxwright_engine_up is 1 for {', '.join(sorted(wanted))}")


def _stays(service: Service) -> bool:
    """Whether the profile leaves a model loaded for good; one that sets a time may be gone by now."""
    return "OLLAMA_KEEP_ALIVE" not in {name.upper() for name in service.engine_settings}


def _misplaced(target: VerifyHost, service: Service, size: int, on_cards: int) -> str:
    wanted = placement(service, target.profile.cards_of(service))
    right = {"cards": on_cards == size, "memory": on_cards == 0, "both": 0 < on_cards < size}[wanted]
    return "" if right else f"has {on_cards} of {size} bytes on cards, and belongs there: {wanted}"
