"""Monitoring on the box sees everything, and nothing is on fire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence

PROMETHEUS = "http://127.0.0.1:9090"


def _ask(host: Host, path: str) -> Any:
    text = host.check_output("curl --silent --show-error --fail --noproxy '*' --max-time 10 %s", PROMETHEUS + path)
    answer = json.loads(text)
    assert answer["status"] == "success", f"{path} answered {answer['status']}"
    return answer["data"]


def _settled(target: VerifyHost, ask: Callable[[], Any], well: Callable[[Any], bool]) -> Any:
    """What Prometheus answers: of a box that has just been provisioned, when it has asked and judged it anew."""
    measured_s = 60 if target.ollama else 0  # by a timer, as it shows no metrics itself
    deadline = time.monotonic() + measured_s + 2 * target.profile.monitoring.scrape_interval_s + 5
    while not well(answer := ask()) and time.monotonic() < deadline:
        time.sleep(1)
    return answer


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="monitoring.targets",
    title="Prometheus reaches everything that it watches: itself, the machine and the engine",
    severity="major",
    remedy="On the box: curl http://127.0.0.1:9090/api/v1/targets tells each target's last error.",
)
def test_targets_are_up(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    def ask() -> Any:
        return _ask(host, "/api/v1/targets?state=active")["activeTargets"]

    targets = _settled(target, ask, lambda targets: targets and all(each["health"] == "up" for each in targets))
    down = {each["labels"]["job"]: each["lastError"] for each in targets if each["health"] != "up"}
    assert not down, ", ".join(f"{job} is not up: {error or 'not asked yet'}" for job, error in down.items())
    jobs = sorted(each["labels"]["job"] for each in targets)
    keeps_silent = {service.unit for service in target.ollama} & {target.profile.stack.unit}  # it shows no metrics
    engine = () if keeps_silent or not target.leads else ("engine",)
    missing = {"prometheus", "node", *engine} - set(jobs)
    assert not missing, f"watches no {', '.join(sorted(missing))}, only {', '.join(jobs) or 'nothing'}"
    watched = {each["labels"].get("service") for each in targets}
    overlooked = sorted(one.name for one in target.further if one.measured and one.name not in watched)
    assert not overlooked, f"does not watch the engine of {', '.join(overlooked)}"
    evidence(f"up: {', '.join(jobs)}")


@pytest.mark.check(
    id="monitoring.nodes",
    title="The head of a box watches the machine of every other node",
    severity="major",
    remedy="Provision the other node again: its gateway shows its measurements to the head; then curl them from there.",
    needs="nodes",
)
def test_nodes_are_watched(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    wanted = {f"node-{name}" for name in target.nodes}

    def ask() -> dict[str, Any]:
        seen = {
            each["labels"]["job"]: each["health"] == "up" or each["lastError"] or "not asked yet"
            for each in _ask(host, "/api/v1/targets?state=active")["activeTargets"]
        }
        return {job: seen.get(job, "not watched") for job in sorted(wanted)}

    told = _settled(target, ask, lambda told: set(told.values()) == {True})
    down = [f"{job}: {why}" for job, why in told.items() if why is not True]
    assert not down, ", ".join(down)
    evidence(f"up: {', '.join(told)}")


@pytest.mark.check(
    id="monitoring.rules",
    title="Alert rules are loaded and work",
    severity="major",
    remedy="On the box: promtool check rules /etc/prometheus/rules/*.yml; then provision again.",
)
def test_rules_are_loaded(host: Host, evidence: Evidence) -> None:
    groups = _ask(host, "/api/v1/rules?type=alert")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules, "no alert rule is loaded"
    broken = [f"{rule['name']}: {rule.get('lastError', '')}" for rule in rules if rule["health"] == "err"]
    assert not broken, ", ".join(broken)
    evidence(f"{len(rules)} rules: {', '.join(rule['name'] for rule in rules)}")


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="monitoring.alerts",
    title="No critical alert is firing",
    severity="critical",
    remedy="On the box: curl http://127.0.0.1:9090/api/v1/alerts tells what fires and why.",
)
def test_no_critical_alert(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    def ask() -> dict[str, str]:
        alerts = [one for one in _ask(host, "/api/v1/alerts")["alerts"] if one["state"] == "firing"]
        return {one["labels"]["alertname"]: one["labels"].get("severity", "") for one in alerts}

    # While models came or programs were built, the engine did not answer for so long that an alert fires.
    firing = _settled(target, ask, lambda firing: "critical" not in firing.values())
    critical = [name for name, severity in firing.items() if severity == "critical"]
    assert not critical, f"firing: {', '.join(critical)}"
    evidence(f"none; less than critical: {', '.join(sorted(firing)) or 'none'}")
