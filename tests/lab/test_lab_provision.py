"""The main job, as a person does it: one command, a verified box, and nothing to do the second time."""

from __future__ import annotations

import difflib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from lab_command import Boxwright, Ran
from model_switching import Visitor, add_models
from page_requests import requests_on, run_here
from ruamel.yaml import YAML
from sabotages import TOGETHER

from boxwright.errors import Exit
from boxwright.factory.evidence.bill_of_materials import require_valid
from boxwright.places import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

# Every time on Debian 13, where test_lab_ollama_box.py takes a whole box on Debian 12; on both in the weekly run.
newest = pytest.mark.parametrize(
    "twin_site",
    [
        pytest.param(("test-bookworm", "debian-12"), marks=pytest.mark.on_demand),
        ("test-trixie", "debian-13"),
    ],
    indirect=True,
    ids=["12", "13"],
)

# Everything that provisioning owns or could disturb. Logs, caches, counters and what a running service writes for
# itself are not part of a box's state; of the chat page's own folder, owner and mode are.
SNAPSHOT = r"""
set -eu
export LC_ALL=C
owned='/etc /opt/boxwright /usr/local /srv /var/lib/boxwright'
find $owned -xdev -type f ! -path '/etc/resolv.conf' -printf '%p %m %u:%g %s %T@\n' | sort
find $owned -xdev -type d -printf '%p %m %u:%g\n' | sort
find $owned -xdev -type l -printf '%p -> %l\n' | sort
find /var/lib/open-webui -xdev -printf '%p %y %m %u:%g\n' | sort
ls -A /run/boxwright /run/boxwright/reboot-due 2>/dev/null || :
dpkg-query -W -f '${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\n'
systemctl list-unit-files --no-legend --no-pager | awk '$2 != "transient" {print $1, $2}' | sort
systemctl show -p Id,ActiveState,ActiveEnterTimestampMonotonic nginx llama-server open-webui prometheus \
  prometheus-node-exporter boxwright-firewall boxwright-certificate.timer ssh systemd-journald cron
systemctl show -p DefaultLimitNOFILE
sed -n 's/^-\{0,1\}\([a-z][a-z0-9_.]*\) *=.*/\1/p' /etc/sysctl.d/90-boxwright.conf | xargs -n 1 sysctl -e
cat /sys/kernel/mm/transparent_hugepage/enabled
nft -s list ruleset
getent passwd; getent group
"""


def on_twin(boxwright: Boxwright, site: str, script: str, number: int = 0) -> str:
    """What a script says on one of a site's twins; the first, unless a number says which."""
    status = boxwright("lab.status", "--site", site).kind("twin")
    lab = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", status[0]["name"].removesuffix("-1"))
    options = [
        "-o",
        f"UserKnownHostsFile={lab / 'known_hosts'}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
    ]
    argv = ["ssh", *options, "-i", str(lab / "id_ed25519"), f"root@{status[number]['address']}", "bash -s"]
    return subprocess.run(argv, input=script, capture_output=True, text=True, check=True, timeout=120).stdout


def changed(ran: Ran) -> list[str]:
    events = ran.kind("event")
    return [f"{event['stage']}: {event['resource']}" for event in events if event["outcome"] == "changed"]


@newest
def test_a_second_operator_is_refused_and_ctrl_c_says_how_to_go_on(boxwright: Boxwright, twin_site: str) -> None:
    words = ("provision", "--profile", "lab", "--site", twin_site, "--yes")
    first = boxwright.start(*words)
    assert first.stdout
    for line in first.stdout:
        if "base" in line:
            break
    refused = boxwright(*words)
    assert refused.code == Exit.LOCKED, refused.text[-2000:]
    assert "has been at work on this box since" in refused.text
    os.kill(first.pid, signal.SIGINT)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == Exit.INTERRUPTED
    assert "goes on from here" in out
    log = max(Path(boxwright.environment["BOXWRIGHT_STATE"], "runs").glob("*/events.jsonl"), key=os.path.getmtime)
    assert '"ended": "interrupted"' in log.read_text().splitlines()[-1]
    own = boxwright.environment["BOXWRIGHT_RUNTIME"]  # inventories are under it, and stand in the arguments
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in processes.splitlines() if own in line and "ansible-playbook" in line]


@newest
def test_a_run_that_was_killed_is_finished_by_the_next(boxwright: Boxwright, twin_site: str) -> None:
    words = ("provision", "--profile", "lab", "--site", twin_site, "--yes")
    broken = boxwright.start(*words, "--json")
    assert broken.stdout
    for line in broken.stdout:  # as soon as packages are being installed
        if '"monitoring"' in line and '"started"' in line:
            break
    broken.send_signal(signal.SIGKILL)
    broken.wait(timeout=10)

    ran = boxwright(*words)
    assert ran.code == Exit.OK, ran.text[-3000:]
    checks = ran.kind("check")
    assert len(checks) > 30
    assert ran.odd_checks == {}
    (handover,) = ran.kind("handover")
    assert handover["chat_url"].startswith("https://")


@newest
def test_the_second_run_changes_nothing(boxwright: Boxwright, twin_site: str) -> None:
    before = on_twin(boxwright, twin_site, SNAPSHOT)
    for seen in ("vm.swappiness = 10", "/var/lib/open-webui d 700 open-webui:open-webui", "table inet boxwright"):
        assert seen in before
    ran = boxwright("provision", "--profile", "lab", "--site", twin_site, "--yes")
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert changed(ran) == []
    assert [one["evidence"] for one in ran.kind("evidence_left")] == ["kept"]
    after = on_twin(boxwright, twin_site, SNAPSHOT)
    assert list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)) == []


@newest
def test_plan_sees_nothing_then_a_drift_and_provision_mends_it(boxwright: Boxwright, twin_site: str) -> None:
    assert boxwright("plan", "--profile", "lab", "--site", twin_site).code == Exit.OK
    meddle = "echo '# meddled' >> /etc/sysctl.d/90-boxwright.conf; sysctl -qw vm.swappiness=60"
    on_twin(boxwright, twin_site, meddle)
    planned = boxwright("plan", "--profile", "lab", "--site", twin_site)
    assert planned.code == Exit.CHANGES
    assert any("-# meddled" in change["diff"] for change in planned.kind("change"))
    again = boxwright("provision", "--profile", "lab", "--site", twin_site, "--yes")
    assert again.code == Exit.OK
    assert on_twin(boxwright, twin_site, "sysctl -n vm.swappiness").strip() == "10"
    assert boxwright("plan", "--profile", "lab", "--site", twin_site).code == Exit.OK


@newest
def test_detect_knows_the_machine_again(boxwright: Boxwright, twin_site: str) -> None:
    ran = boxwright("detect", "--site", twin_site)
    assert ran.code == Exit.OK, ran.text[-3000:]
    (machine,) = ran.kind("machine")
    assert {"bytes", "mount"} <= machine["file_systems"][0].keys()
    assert {443, 22} <= {listener["port"] for listener in machine["listeners"]}
    match = ran.kind("match")[0]
    assert (match["profile"], match["differences"]) == ("lab", [])


@pytest.mark.parametrize("twin_site", [("test-trixie", "debian-13")], indirect=True, ids=["13"])
def test_a_box_is_certified_as_it_is(boxwright: Boxwright, twin_site: str, tmp_path: Path) -> None:
    words = ("report", "--profile", "lab", "--to", str(tmp_path), "--site")
    good = boxwright(*words, twin_site)
    assert good.code == Exit.OK, good.text[-3000:]
    (told,) = good.kind("certificate")
    assert (told["verdict"], told["host"]) == ("passed", "test-trixie-1")
    checked = boxwright("report.check", told["files"]["html (zh)"], "--signer", told["signing_key"])
    assert checked.code == Exit.OK, checked.text
    certificate = json.loads(Path(told["files"]["json"]).read_text())
    assert certificate["twin"]
    assert len(certificate["checks"]) == len(good.kind("check")) > 30
    assert certificate["receipt"]["versions"]["nginx"]
    assert {gap["what"] for gap in certificate["unproven"]} >= {"bench", "burnin"}
    assert [one["name"] for one in certificate["evidence"]] == [
        "provenance.intoto.jsonl",
        "receipt.json",
        "sbom.cdx.json",
    ]

    at_once = [one for one in TOGETHER if one.check in ("platform.sysctls", "engine.weights", "logs.errors")]
    make_key = "ssh-keygen -qN '' -f /etc/meddled; chmod 644 /etc/meddled"
    on_twin(boxwright, twin_site, "\n".join([make_key, *(one.do for one in at_once)]))
    meddled = tmp_path / "site.yml"
    waiver = "waivers: [{check: secrets.private_keys, by: Ada, reason: the test meddles with it}]\n"
    meddled.write_text(Path(twin_site).read_text() + waiver)
    bad = boxwright(*words, str(meddled))
    assert bad.code == Exit.VERIFY_FAILED
    results = {check["id"]: (check["result"], check["evidence"]) for check in bad.kind("check")}
    assert results["platform.sysctls"] == ("fail", "vm.swappiness is 60, not 10")
    for one in at_once:
        assert results[one.check][0] == "fail"
        assert one.says in results[one.check][1]
    result, evidence = results["secrets.private_keys"]
    assert result == "waived"
    assert evidence.startswith("waived by Ada: the test meddles with it (")
    assert "/etc/meddled" in evidence
    page = Path(told["files"]["html (en)"]).read_text()
    first, _, rest = page.partition('<section class="page">')
    assert "vm.swappiness is 60, not 10" in first
    assert "the test meddles with it" in rest
    on_twin(boxwright, twin_site, "\n".join(["rm /etc/meddled /etc/meddled.pub", *(one.undo for one in at_once)]))


@pytest.mark.parametrize("twin_site", [("test-trixie", "debian-13")], indirect=True, ids=["13"])
def test_a_box_tells_what_is_on_it_and_how_it_was_built(boxwright: Boxwright, twin_site: str, tmp_path: Path) -> None:
    left = on_twin(boxwright, twin_site, "cat /etc/boxwright/sbom.cdx.json")
    ran = boxwright("evidence", "--profile", "lab", "--to", str(tmp_path), "--site", twin_site)
    assert ran.code == Exit.OK, ran.text[-3000:]
    (told,) = ran.kind("evidence")
    bill = Path(told["files"]["sbom.cdx.json"])
    assert bill.read_text() == left, "provisioning left another bill on the box than the one that is true now"
    require_valid(left)
    packages = on_twin(boxwright, twin_site, "dpkg-query -W -f '${db:Status-Status}:${Package}\\n'").splitlines()
    named = [one for one in json.loads(left)["components"] if "distro=debian-13" in one.get("purl", "")]
    assert sorted(f"installed:{one['name']}" for one in named) == sorted(packages)
    assert all(one["hashes"] for one in named), "apt's lists on a fresh box know every package"
    wheels = [
        within
        for one in json.loads(left)["components"]
        for within in one.get("components", ())
        if within.get("purl", "").startswith("pkg:pypi/")
    ]
    assert len(wheels) == told["counts"]["wheel"] > 100
    assert all(one["hashes"] for one in wheels)
    assert told["counts"]["model file"] == 1

    words = ("evidence.check", str(bill.parent), "--signer", told["signing_key"])
    checked = boxwright(*words)
    assert checked.code == Exit.OK, checked.text
    (built,) = checked.kind("evidence")
    assert (built["host"], built["twin"], len(built["held"])) == ("test-trixie-1", "SIMULATED hardware", 2)
    bill.write_text(left.replace("nginx", "nginy", 1))
    assert "sbom.cdx.json is not the one that was signed for" in boxwright(*words).text


@pytest.mark.parametrize("twin_site", [("test-trixie", "debian-13")], indirect=True, ids=["13"])
def test_bench_measures_the_engine_by_both_ways(boxwright: Boxwright, twin_site: str) -> None:
    wanted = ("--concurrency", "1,2", "--context", "256", "--answer", "16")
    ran = boxwright("bench", "--profile", "lab", "--site", twin_site, *wanted)
    assert ran.code == Exit.OK, ran.text[-3000:]
    rows = ran.kind("bench")
    assert [(row["route"], row["at_once"], row["failed"]) for row in rows] == [
        (route, at_once, "none") for route in ("gateway", "engine") for at_once in ("1", "2")
    ]
    (written,) = ran.kind("measurements")
    series = {one["name"]: one for one in json.loads(Path(written["file"]).read_text())["series"]}
    for route in ("gateway", "engine"):
        assert all(point["value"] > 1 for point in series[f"{route}.256.throughput"]["points"])
        assert 0 < series[f"{route}.256.first_p50"]["points"][0]["value"] < 60


@pytest.mark.parametrize("twin_site", [("test-trixie", "debian-13")], indirect=True, ids=["13"])
def test_another_model_takes_over_or_what_served_goes_on(boxwright: Boxwright, twin_site: str, tmp_path: Path) -> None:
    add_models(Path(twin_site), tmp_path)
    words, place = ("--profile", "lab", "--site", twin_site), Path(boxwright.environment["BOXWRIGHT_STATE"])
    failed = boxwright("models.switch", *words, "--model", "broken", "--yes")
    assert failed.code == Exit.ERROR, failed.text[-3000:]
    assert "switched to broken/q4_1. llama-server.service serves smollm2-135m-instruct again" in failed.text
    assert not (place / "sites/test-trixie/switched.yml").exists()

    (secret,) = boxwright("secrets.show", "--site", twin_site, "--name", "api_key").kind("secret")
    (twin,) = boxwright("lab.status", "--site", twin_site).kind("twin")
    authority = place / "sites/test-trixie/test-trixie-1-ca.crt"
    with Visitor(twin["address"], authority, secret["value"], "smollm2-135m-instruct") as visitor:
        switched = boxwright("models.switch", *words, "--model", "again", "--yes")
    assert switched.code == Exit.OK, switched.text[-3000:]
    assert switched.kind("check")
    assert switched.odd_checks == {}
    served = [reply.json()["data"][0]["id"] for reply in visitor.replies if reply.is_success]
    assert (served[0], served[-1]) == ("smollm2-135m-instruct", "again")
    away = [reply for reply in [*visitor.replies, visitor.cut] if reply and not reply.is_success]
    assert {(reply.status_code, reply.headers["Retry-After"]) for reply in away} == {(503, "10")}
    assert visitor.cut in away
    assert visitor.cut.json()["error"]["code"] == "engine_unavailable"
    assert visitor.stream[-1] == "closed"
    assert visitor.pages == {200}

    assert boxwright("plan", *words).code == Exit.OK  # what was chosen stays
    rows = boxwright("models", *words).kind("model_on_box")
    assert {row["build"]: row["use"] for row in rows} == {
        "again/q4_1": "served",
        "broken/q4_1": "none",
        "smollm2-135m-instruct/q4_1": "none",
    }


TWO_SERVICES = """\
name: two-services
summary: the lab's model twice, for chat and for vectors
hardware: {cpu: {sockets: 1, cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}
stack:
  model: smollm2-135m-instruct
  engine: llama_cpp
  context_tokens: 2048
  open_webui_flavour: slim
  further:
    - name: vectors
      model: smollm2-vectors
      engine: llama_cpp
      engine_settings: {pooling: mean}
      context_tokens: 512
      engine_port: 8001
"""


def two_services(folder: Path, twin_site: str) -> tuple[str, ...]:
    """What is said to serve two models on the twin. Vectors are those of the lab's chat model: none is smaller."""
    models = YAML(typ="safe").load(ROOT / "inventories/models/lab.yml")["models"]
    (chat,) = (one for one in models if one["id"] == "smollm2-135m-instruct")
    vectors = {**chat, "id": "smollm2-vectors", "aliases": [], "purpose": "embedding"}
    (folder / "vectors.yml").write_text(json.dumps({"models": [vectors]}))
    (folder / "two-services.yml").write_text(TWO_SERVICES)
    models_of_site = f"models: {{catalogues: [{folder}/vectors.yml]}}\n"
    own = [line for line in Path(twin_site).read_text().splitlines() if not line.startswith("models:")]
    (folder / "site.yml").write_text("\n".join([*own, models_of_site]))
    return ("--profile", str(folder / "two-services.yml"), "--site", str(folder / "site.yml"))


@pytest.mark.on_demand
@pytest.mark.parametrize("twin_site", [("test-trixie", "debian-13")], indirect=True, ids=["13"])
def test_a_second_service_is_served_and_every_request_on_the_page_about_the_box_works(
    boxwright: Boxwright, twin_site: str, tmp_path: Path
) -> None:
    words = two_services(tmp_path, twin_site)
    ran = boxwright("provision", *words, "--yes")
    assert ran.code == Exit.OK, ran.text[-4000:]
    made = {check["id"] for check in ran.kind("check")}
    assert {"further.answers", "further.users", "further.guarded", "gateway.about"} <= made
    assert ran.odd_checks == {}

    handed = boxwright("handover", *words)
    assert handed.code == Exit.OK, handed.text
    (facts,) = handed.kind("handover")
    pages = {language: Path(path).read_text() for language, path in facts["pages"].items()}
    requests = requests_on(pages["en"])
    assert requests == requests_on(pages["zh"])
    (key,) = (line["value"] for line in boxwright("secrets.show", *words[2:], "--name", "api_key").kind("secret"))
    assert key not in handed.text + "".join(pages.values())

    run_here(requests.pop(("authority", "")), tmp_path, key)
    assert run_here(requests.pop(("fingerprint", "")), tmp_path, key).partition("=")[2].strip() in pages["en"]
    by_key = requests["curl-models", ""].partition("|")[0] + "| curl --config - --cacert boxwright-ca.crt"
    chinese = f"{by_key} --location --header 'Accept-Language: zh-CN,zh;q=0.9' {facts['chat_url']}/about"
    assert requests_on(run_here(chinese, tmp_path, key)) == requests_on(pages["zh"])
    for service, model in (("", "smollm2-135m-instruct"), ("vectors", "smollm2-vectors")):
        listed = run_here(requests.pop(("curl-models", service)), tmp_path, key)
        assert model in [one["id"] for one in json.loads(listed)["data"]]
    assert "data: [DONE]" in run_here(requests.pop(("curl", "")), tmp_path, key)
    (vector,) = json.loads(run_here(requests.pop(("curl", "vectors")), tmp_path, key))["data"]

    provider = json.loads(requests.pop(("chatbox", "")))["settings"]
    question = {"model": provider["models"][0]["modelId"], "messages": [{"role": "user", "content": "Hello"}]}
    asked = f"{by_key} --json '{json.dumps(question)}' {provider['apiHost']}{provider['apiPath']}"
    assert json.loads(run_here(asked, tmp_path, key))["choices"]

    # The twin has OpenAI's client: it came with the chat page.
    fetched = f"curl --silent --output boxwright-ca.crt {facts['authority_url']}\nexport BOXWRIGHT_API_KEY='{key}'\n"
    python = "/opt/boxwright/open-webui/current/bin/python - <<'END'\n{}\nEND\n"
    said = on_twin(
        boxwright, twin_site, f"set -e; cd $(mktemp -d)\n{fetched}" + python.format(requests.pop(("python", "")))
    )
    assert said.strip()
    said = on_twin(
        boxwright, twin_site, f"set -e; cd $(mktemp -d)\n{fetched}" + python.format(requests.pop(("python", "vectors")))
    )
    assert int(said) == len(vector["embedding"])
    assert not requests, "a request on the page was not tried"
