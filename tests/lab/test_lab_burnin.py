"""A burn-in on twins: real loads for seconds, and a box as it was afterwards, however the burn-in ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.places import ROOT

# Programs of 300 MB come and go with each burn-in: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]
ON_TRIXIE = pytest.mark.parametrize("twin_site", [("test-burnin", "debian-13")], indirect=True)
# What a burn-in brings, and where it leaves traces if it does.
FOLDERS = "/etc /root /var/lib /srv /opt /usr/local /tmp /var/tmp /run"
PRUNED = ("*/apt/*", "*/dpkg/*", "/run/*systemd*", "/run/sshd*", "/run/boxwright*")
TRACES = f"""
dpkg-query --show --showformat='${{Package}} ${{Version}} ${{db:Status-Status}}\\n'
find /etc -xdev -type f ! -name '*-' ! -name ld.so.cache -exec md5sum {{}} +
systemctl is-active boxwright-burn-in; pgrep -l 'stress-ng|fio|iperf3'
find {FOLDERS} -xdev {" ".join(f"-path '{one}' -prune -o" for one in PRUNED)} -print
"""
# What belongs to packages' own upkeep and changes with whatever comes and goes.
UPKEEP = (
    "/etc/ld.so.cache",
    "/var/lib/systemd/",
    "/run/user",
    "/run/adduser",
    "/run/mount",
    "/run/udev",
    "/tmp/systemd-",  # private folders of services that come and go, timedated among them
    "/var/tmp/systemd-",
    "/root/.ansible",
)
Shell = Callable[[str], str]


def shell(boxwright: Boxwright, site: str, host: str = "") -> Shell:
    """How to run a command on a host of a site."""

    def on(command: str) -> str:
        words = ["lab.ssh", "--site", site, *(["--host", host] if host else [])]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "boxwright.program", *words],
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


@pytest.fixture(scope="module")
def box(boxwright: Boxwright, twin_site: str) -> Shell:
    """A box that has packages' sources, and how to run a command on it."""
    ran = boxwright("provision", "--profile", "lab", "--site", twin_site, "--stages", "base", "--yes")
    assert ran.code == Exit.OK, ran.text
    on = shell(boxwright, twin_site)
    on("mkdir -p /srv/models")
    return on


def traces(box: Shell) -> list[str]:
    return sorted(line for line in box(TRACES).splitlines() if not line.startswith(UPKEEP))


def measured(ran: Ran) -> dict[str, Any]:
    """What a burn-in wrote."""
    (written,) = ran.kind("measurements")
    found: dict[str, Any] = json.loads(Path(written["file"]).read_text())
    return found


def newest(boxwright: Boxwright) -> dict[str, Any]:
    """What the newest run wrote, where the command cannot tell any more."""
    runs = sorted((Path(boxwright.environment["BOXWRIGHT_STATE"]) / "runs").glob("*/burnin-*.json"))
    found: dict[str, Any] = json.loads(runs[-1].read_text())
    return found


def begun(process: subprocess.Popen[str], part: str) -> Iterator[dict[str, Any]]:
    """Read until a part has been loaded for some seconds."""
    assert process.stdout
    samples = 0
    for line in process.stdout:
        told = json.loads(line)
        samples += told.get("type") == "event" and told["stage"] == part
        if samples > 3:
            return
        yield told
    raise AssertionError(f"it ended before {part}")


@ON_TRIXIE
def test_every_part_is_loaded_and_nothing_stays(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    before = traces(box)
    ran = boxwright("burnin", "--profile", "lab", "--site", twin_site, "--minutes", "0.5")
    assert ran.code == Exit.OK, ran.text[-3000:]
    found = measured(ran)
    series = {one["name"]: one for one in found["series"]}
    assert series["cpu.rate"]["points"][0]["value"] > 10
    assert 0.5 < series["memory.size"]["points"][0]["value"] < 4  # of 4 GiB, what nothing else has, but for 1 GiB
    assert all(point["value"] > 1 for point in series["disk.system.written"]["points"])
    assert series["network.controller.from"]["points"][0]["value"] > 0.01
    assert [one["points"][0]["value"] for one in found["series"] if one["ceiling"] == 0] == [0] * 5
    assert found["stopped"] == ""
    assert "stress-ng" in found["tool"]
    # A container sees another machine's sensors: none of this is green.
    assert {"temperatures", "health of disks (SMART)"} <= {gap["what"] for gap in found["unproven"]}
    assert len([line for line in ran.kind("event") if line["stage"] == "cpu"]) >= 5
    assert set(traces(box)) ^ set(before) == set()


@ON_TRIXIE
def test_what_breaks_is_told_and_nothing_stays(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    # SIMULATED: memory that is broken, by a stress-ng that says so.
    said = "stress-ng: fail:  [77] vm: detected 2 bit errors while stressing memory"
    box(
        f"printf '#!/bin/sh\\necho \"{said}\"\\nexit 2\\n' >/usr/local/bin/stress-ng; chmod +x /usr/local/bin/stress-ng"
    )
    before = traces(box)
    ran = boxwright("burnin", "--profile", "lab", "--site", twin_site, "--minutes", "0.1", "--only", "memory")
    after = traces(box)
    box("rm /usr/local/bin/stress-ng")
    assert ran.code == Exit.VERIFY_FAILED, ran.text[-3000:]
    (bad,) = (row for row in ran.kind("burnin") if row["result"] == "FAILS")
    assert bad["what"] == "Memory that came back changed"
    assert any("detected 2 bit errors" in line["text"] for line in ran.kind("message"))
    assert set(after) ^ set(before) == set()


@ON_TRIXIE
def test_ctrl_c_ends_every_load_and_nothing_stays(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    before = traces(box)
    process = boxwright.start("burnin", "--profile", "lab", "--site", twin_site, "--minutes", "30", "--json")
    try:
        list(begun(process, "cpu"))
        assert "stress-ng" in box("pgrep -l stress-ng")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == Exit.INTERRUPTED, out + err
    assert newest(boxwright)["stopped"] == "it was interrupted"
    assert set(traces(box)) ^ set(before) == set()


@ON_TRIXIE
def test_loads_end_with_the_controller_and_the_next_burn_in_cleans_up(
    boxwright: Boxwright, twin_site: str, box: Shell
) -> None:
    before = traces(box)
    words = ("burnin", "--profile", "lab", "--site", twin_site)
    process = boxwright.start(*words, "--minutes", "30", "--only", "disk", "--json")
    try:
        list(begun(process, "disk"))
        assert ".boxwright-burn-in" in box("ls -A /var/lib /srv/models")
        # No load writes anywhere else: every disk is read-only to it.
        pid = "$(systemctl show --value --property=MainPID boxwright-burn-in)"
        tried = box(f"for at in /var/lib /etc /srv /root /tmp; do nsenter -t {pid} -m touch $at/meddled; done 2>&1")
        assert tried.count("Read-only file system") == 5 or tried.count("Read-only") == 4  # /tmp is the unit's own
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ended = time.monotonic()
        while "active" in box("systemctl is-active boxwright-burn-in").split() or box("pgrep fio"):
            assert time.monotonic() - ended < 60
            time.sleep(0.5)
    finally:
        process.kill()
    assert ".boxwright-burn-in" not in box("ls -A /var/lib /srv/models")
    assert newest(boxwright)["stopped"] == "the controller went away before its end"
    ran = boxwright(*words, "--minutes", "0.1", "--only", "cpu")
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert set(traces(box)) ^ set(before) == set()


@ON_TRIXIE
def test_a_full_disk_is_refused_before_any_load(boxwright: Boxwright, twin_site: str, box: Shell) -> None:
    box("mount -t tmpfs -o size=600m tmpfs /srv/models")
    ran = boxwright("burnin", "--profile", "lab", "--site", twin_site, "--minutes", "0.5")
    left = box("ls -A /srv/models; umount /srv/models")
    assert ran.code == Exit.VERIFY_FAILED
    (error,) = ran.kind("error")
    assert "0.6 GiB of 0.6 are free" in error["message"]
    assert "models disk" in error["where"]
    assert ran.kind("measurements") == []
    assert left == ""


@ON_TRIXIE
def test_the_certificate_shows_it(boxwright: Boxwright, twin_site: str, box: Shell, tmp_path: Path) -> None:
    words = ("--profile", "lab", "--site", twin_site)
    assert boxwright("burnin", *words, "--minutes", "0.2", "--only", "cpu,disk").code == Exit.OK
    ran = boxwright("report", *words, "--to", str(tmp_path))
    (told,) = ran.kind("certificate")
    certificate = json.loads(Path(told["files"]["json"]).read_text())
    (burnin,) = (one for one in certificate["measurements"] if one["kind"] == "burnin")
    assert {one["name"] for one in burnin["series"]} >= {"cpu.failures", "disk.system.written"}
    english, chinese = (Path(told["files"][f"html ({language})"]).read_text() for language in ("en", "zh"))
    assert "Failed passes over a file (system disk)" in english
    assert "文件读写校验失败的遍数" in chinese
    assert "Failed passes" not in chinese


def test_nodes_of_a_box_send_to_each_other(boxwright: Boxwright, tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    names = ("test-burnin-pair-1", "test-burnin-pair-2")
    hosts = ", ".join(f"{{name: {name}}}" for name in names)
    site.write_text(f"name: test-burnin-pair\ntwin: {{distribution: debian-12}}\nhosts: [{hosts}]\n")
    words = ("--profile", "lab-vllm-pair", "--site", str(site))
    try:
        assert boxwright("provision", *words, "--stages", "base", "--yes").code == Exit.OK
        ran = boxwright("burnin", *words, "--only", "cpu,memory,network", "--minutes", "0.6")
        assert ran.code == Exit.OK, ran.text[-3000:]
        for written, name, other in zip(ran.kind("measurements"), names, reversed(names), strict=True):
            found = json.loads(Path(written["file"]).read_text())
            assert found["host"] == name
            series = {one["name"]: one["points"][0]["value"] for one in found["series"]}
            peer = other.replace("-", "_")
            assert series[f"network.node_{peer}.to"] > 0.01
            assert series[f"network.node_{peer}.from"] > 0.01
            assert series[f"network.node_{peer}.failures"] == 0
            assert series["cpu.failures"] == series["memory.failures"] == 0
            assert series["cpu.rate"] > 10
    finally:
        boxwright("lab.down", "--site", str(site))
