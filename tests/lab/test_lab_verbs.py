"""The verbs of the lab, as a person runs them: boot, look, enter, remove."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.places import ROOT

WELCOMED = "welcome-is-over"
pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("twin_site", [("test-verbs", "debian-13")], indirect=True),
]


def status(boxwright: Boxwright, site: str) -> list[dict[str, str]]:
    ran = boxwright("lab.status", "--site", site)
    assert ran.code == Exit.OK, ran.text
    return ran.kind("twin")


def ssh(boxwright: Boxwright, site: str, *words: str, typed: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "boxwright.program", "lab.ssh", "--site", site, *words]
    return subprocess.run(
        argv, input=typed, env=boxwright.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def typed_in(boxwright: Boxwright, site: str, commands: str) -> tuple[int, str]:
    """How a session ended, and what it said after Debian's words of welcome."""
    ended = ssh(boxwright, site, typed=f"echo {WELCOMED}\n{commands}\n")
    return ended.returncode, ended.stdout.partition(f"{WELCOMED}\n")[2]


def told(ran: Ran) -> dict[str, str]:
    (error,) = ran.kind("error")
    return error


def test_a_lab_that_is_not_up_has_no_twins_and_nothing_to_enter(boxwright: Boxwright, twin_site: str) -> None:
    assert status(boxwright, twin_site) == []
    refused = boxwright("lab.ssh", "--site", twin_site)
    assert refused.code == Exit.BAD_INPUT
    assert told(refused)["message"] == "no twin runs"
    assert told(refused)["hint"] == f"Boot one: ./invoke lab.up --site {twin_site}"


def test_up_boots_the_sites_twins_with_the_profiles_machine(boxwright: Boxwright, twin_site: str) -> None:
    ran = boxwright("lab.up", "--site", twin_site, "--profile", "8x4090")
    assert ran.code == Exit.OK, ran.text
    (twin,) = ran.kind("twin")
    assert (twin["name"], twin["distribution"], twin["state"]) == ("test-verbs-1", "debian-13", "running")
    # ssh takes the process over, so that its code is the session's.
    assert typed_in(boxwright, twin_site, "hostname; lspci -n | grep -c 10de:2684; exit 7") == (7, "test-verbs-1\n8\n")


def test_up_again_leaves_a_running_twin_as_it_is(boxwright: Boxwright, twin_site: str) -> None:
    code, boot_id = typed_in(boxwright, twin_site, "cat /proc/sys/kernel/random/boot_id")
    assert (code, len(boot_id)) == (0, 37)
    assert boxwright("lab.up", "--site", twin_site, "--profile", "8x4090").code == Exit.OK
    assert typed_in(boxwright, twin_site, "cat /proc/sys/kernel/random/boot_id") == (0, boot_id)


def test_up_with_another_profile_says_what_to_remove_first(boxwright: Boxwright, twin_site: str) -> None:
    ran = boxwright("lab.up", "--site", twin_site, "--profile", "lab")
    assert ran.code == Exit.ERROR
    assert "exists with another distribution, hardware or disk" in told(ran)["message"]
    assert "lab.down --site test-verbs" in told(ran)["hint"]


def test_ssh_enters_the_twin_that_is_named(boxwright: Boxwright, twin_site: str) -> None:
    entered = ssh(boxwright, twin_site, "--host", "test-verbs-1", typed="hostname\n")
    assert (entered.returncode, entered.stdout.splitlines()[-1]) == (0, "test-verbs-1")
    refused = ssh(boxwright, twin_site, "--json", "--host", "test-verb-1", typed="")
    assert refused.returncode == Exit.BAD_INPUT
    assert "Did you mean 'test-verbs-1'?" in json.loads(refused.stdout)["message"]


def test_status_tells_of_a_twin_that_has_powered_itself_off(boxwright: Boxwright, twin_site: str) -> None:
    ssh(boxwright, twin_site, typed="touch /root/kept; sync; systemctl poweroff\n")
    deadline = time.monotonic() + 60
    while [twin["state"] for twin in status(boxwright, twin_site)] != ["stopped"]:
        assert time.monotonic() < deadline
    assert boxwright("lab.up", "--site", twin_site, "--profile", "8x4090").code == Exit.OK
    assert typed_in(boxwright, twin_site, "ls /root/kept") == (0, "/root/kept\n")


def test_down_removes_the_twins_and_can_be_said_twice(boxwright: Boxwright, twin_site: str) -> None:
    for _ in range(2):
        ran = boxwright("lab.down", "--site", twin_site)
        assert ran.code == Exit.OK, ran.text
        assert status(boxwright, twin_site) == []
