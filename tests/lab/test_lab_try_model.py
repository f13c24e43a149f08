"""A model is tried on a box beside what serves there: it answers, its page is behind the gateway, and nothing stays."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.places import ROOT

# Packages of half a gigabyte come in and are compiled: on demand.
pytestmark = [
    pytest.mark.lab,
    pytest.mark.on_demand,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("twin_site", [("test-try", "debian-13")], indirect=True),
]
STAGES = "base,gateway,models,llama_cpp"
TRACES = "ls -d /opt/boxwright/* /usr/local/lib/boxwright/* /var/lib/boxwright/requests/* /run/boxwright*/* 2>/dev/null"
GONE = "systemctl is-active boxwright-try; ls /run/boxwright/gateway; ls -d /run/boxwright-try"
QUESTION = {"data": ["What is the capital of France? Answer in one word."]}
Shell = Callable[[str], str]


@pytest.fixture(scope="module")
def box(boxwright: Boxwright, twin_site: str) -> Shell:
    """A provisioned box, and how to run a command on it."""
    ran = boxwright("provision", "--profile", "lab", "--site", twin_site, "--stages", STAGES, "--yes")
    assert ran.code == Exit.OK, ran.text

    def on(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "boxwright.program", "lab.ssh", "--site", twin_site],
            input=f"echo welcome-is-over\n{command}\n",
            env=boxwright.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout.partition("welcome-is-over\n")[2]

    return on


def secret(boxwright: Boxwright, site: str, name: str) -> str:
    (line,) = boxwright("secrets.show", "--site", site, "--host", "test-try-1", "--name", name).kind("secret")
    return str(line["value"])


def test_it_answers_and_leaves_nothing(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    before, serving = box(TRACES), box("systemctl show llama-server -p MainPID")
    ran = boxwright("models.try", "--profile", "lab", "--site", twin_site)
    assert ran.code == Exit.OK, ran.text
    answers = ran.kind("trial_answer")
    assert "Paris" in answers[0]["answer"]
    assert all(float(one["tokens/s"]) > 0 for one in answers)
    (trial,) = ran.kind("trial")
    assert (trial["parameters"], trial["devices"], trial["number_format"]) == (134515008, ["cpu"], "bfloat16")
    assert 0 < trial["memory_bytes"] < 1_600_000_000
    assert box(TRACES) == before
    assert box("systemctl show llama-server -p MainPID") == serving


def test_a_page_is_behind_the_gateway_and_ends_with_the_controller(
    boxwright: Boxwright, twin_site: str, box: Shell
) -> None:
    user, password = "api", secret(boxwright, twin_site, "api_password")
    trust = ssl.create_default_context(cadata=box("cat /etc/boxwright/pki/ca.crt"))
    words = ("models.try", "--profile", "lab", "--site", twin_site, "--keep", "--page", "--json")
    process = boxwright.start(*words)
    try:
        url = page_of(process)
        with httpx.Client(verify=trust, trust_env=False, timeout=60) as client:
            assert client.get(url).status_code == 401
            client.auth = httpx.BasicAuth(user, password)
            page = client.get(url)
            assert page.status_code == 200
            assert "default-src 'self'" in page.headers["content-security-policy"]
            event = client.post(f"{url}gradio_api/call/answer", json=QUESTION).json()["event_id"]
            assert "Paris" in client.get(f"{url}gradio_api/call/answer/{event}").text
            # No port: a socket that nginx alone may open, in a unit without a network.
            assert box("ss -Hlnt | grep -vE ':(22|80|443|8000) ' || :") == ""
            assert box("runuser -u nobody -- curl -s --unix-socket /run/boxwright-try/page.sock http://x/try/") == ""
            refused = boxwright("models.try", "--profile", "lab", "--site", twin_site)
            assert refused.code == Exit.ERROR
            assert "being tried on this box already" in refused.kind("error")[0]["message"]
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            ended = time.monotonic()
            while client.get(url).status_code == 200:
                assert time.monotonic() - ended < 30
                time.sleep(0.2)
    finally:
        process.kill()
    time.sleep(1)
    assert box(GONE).split() == ["inactive"]


def page_of(process: subprocess.Popen[str]) -> str:
    """The page's address, as soon as it is told."""

    assert process.stdout
    told: list[dict[str, Any]] = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["type"] == "trial_page":
            return str(told[-1]["url"])
    raise AssertionError(told)


def test_a_page_ends_at_the_end_of_its_time(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    words = ("--profile", "lab", "--site", twin_site, "--page", "--seconds", "30")
    ran = boxwright("models.try", *words)
    assert ran.code == Exit.OK, ran.text
    assert box(GONE).split() == ["inactive"]
    assert "try-model" not in box(TRACES)


def test_a_box_without_room_is_left_alone(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    # SIMULATED: what a twin says of its memory does not move with what is used there.
    told = "sed 's/^MemAvailable:.*/MemAvailable: 1500000 kB/' /proc/meminfo > /run/little"
    box(f"{told} && mount --bind /run/little /proc/meminfo")
    before = box(TRACES)
    ran = boxwright("models.try", "--profile", "lab", "--site", twin_site)
    box("umount /proc/meminfo && rm /run/little")
    assert ran.code == Exit.ERROR
    assert "what serves would be pushed out" in ran.kind("error")[0]["message"]
    assert box(TRACES) == before
