"""Monitoring on the box sees everything, and nothing is on fire."""

from __future__ import annotations

import json
import time
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


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="monitoring.targets",
    title="Prometheus reaches everything that it watches: itself, the machine and the engine",
    severity="major",
    remedy="On the box: curl http://127.0.0.1:9090/api/v1/targets tells each target's last error.",
)
def test_targets_are_up(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    # A target of a box that has just been provisioned is unknown until it was asked once.
    deadline = time.monotonic() + 2 * target.profile.monitoring.scrape_interval_s + 5
    while True:
        targets = _ask(host, "/api/v1/targets?state=active")["activeTargets"]
        down = {each["labels"]["job"]: each["lastError"] for each in targets if each["health"] != "up"}
        if (targets and not down) or time.monotonic() > deadline:
            break
        time.sleep(1)
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
    deadline = time.monotonic() + 2 * target.profile.monitoring.scrape_interval_s + 5
    wanted = {f"node-{name}" for name in target.nodes}
    while True:
        targets = _ask(host, "/api/v1/targets?state=active")["activeTargets"]
        seen = {
            each["labels"]["job"]: each["health"] == "up" or each["lastError"] or "not asked yet" for each in targets
        }
        told = {job: seen.get(job, "not watched") for job in sorted(wanted)}
        if set(told.values()) == {True} or time.monotonic() > deadline:
            break
        time.sleep(1)
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
def test_no_critical_alert(host: Host, evidence: Evidence) -> None:
    alerts = [alert for alert in _ask(host, "/api/v1/alerts")["alerts"] if alert["state"] == "firing"]
    critical = [alert["labels"]["alertname"] for alert in alerts if alert["labels"].get("severity") == "critical"]
    assert not critical, f"firing: {', '.join(critical)}"
    others = ", ".join(sorted({alert["labels"]["alertname"] for alert in alerts}))
    evidence(f"none; less than critical: {others or 'none'}")
