"""Enrolment over OpenSSH's sshd: pinned at first contact, a changed key stops that host alone, in every verb."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

# A new key as a reinstallation makes it; sshd reads it for each connection that it takes.
REINSTALL = (
    "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; "
    "systemctl restart ssh; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
)


@dataclass(frozen=True)
class Line:
    """Three twins, known to their site as servers are: by address, and nothing is pinned."""

    site: str
    twins: list[RunningTwin]

    def on(self, number: int, script: str) -> str:
        """Run a script past Boxwright's pins, by those that the lab made."""
        twin = self.twins[number]
        return check(Endpoint(twin.name, twin.address, 22, "root", twin.key, twin.known_hosts, 5), script)

    def console(self, number: int) -> str:
        """What the machine's console would show."""
        return self.on(number, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fresh_lab("test-enroll") as lab:
        yield lab


@pytest.fixture
def line(lab: Lab, tmp_path: Path) -> Line:
    hardware = load_profile("lab").hardware
    twins = lab.up([TwinSpec(f"line-{number}", "debian-12", hardware) for number in (1, 2, 3)])
    rows = "".join(f"  - {{name: {twin.name}, address: {twin.address}}}\n" for twin in twins)
    site = tmp_path / "site.yml"
    site.write_text(
        f"name: test-line\nhosts:\n{rows}ssh: {{key: {twins[0].key}, connect_timeout_s: 5}}\n"
        f"proxy: {lab.proxy_url}\nca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\n"
    )
    return Line(str(site), twins)


def test_a_line_is_enrolled_and_a_changed_key_stops_one_host(line: Line, boxwright: Boxwright, tmp_path: Path) -> None:
    before = boxwright("detect", "--site", line.site)
    assert before.code == Exit.ERROR
    assert all("not known yet" in error["message"] for error in before.kind("error"))

    nobody = boxwright("enroll", "--site", line.site)
    assert nobody.code == Exit.BAD_INPUT
    assert "line-1, line-2, line-3" in nobody.kind("error")[0]["message"]

    consoles = tmp_path / "consoles.txt"
    prints = [line.console(number) for number in range(3)]
    consoles.write_text(f"line-1 {prints[0]}\nline-2 {prints[1]}\nline-3 {prints[0]}\n")  # the last one is wrong
    one_bad = boxwright("enroll", "--site", line.site, "--fingerprint", str(consoles))
    assert one_bad.code == Exit.PARTIAL, one_bad.text
    assert {row["host"]: row["result"] for row in one_bad.kind("host_key")} == {
        "line-1": "pinned",
        "line-2": "pinned",
        "line-3": "refused",
    }
    rest = boxwright("enroll", "--site", line.site, "--fingerprint", f"line-3={prints[2]}")
    assert rest.code == Exit.OK, rest.text
    assert boxwright("detect", "--site", line.site).code == Exit.OK

    new = line.on(1, REINSTALL).split()[1]
    subprocess.run(["sleep", "1"], check=True)
    told = f"pinned {prints[1]}, offered {new}"
    for verb in (["detect"], ["provision", "--profile", "lab", "--yes", "--stages", "base"]):
        _forget_connections(boxwright)
        ran = boxwright(*verb, "--site", line.site)
        assert ran.code == Exit.PARTIAL, ran.text[-3000:]
        (error,) = ran.kind("error")
        assert told in error["message"]
        assert error["where"].startswith("line-2")
    checked = boxwright("verify", "--profile", "lab", "--site", line.site)
    assert told in checked.text
    ends = {(row["host"], row["stage"]): row["state"] for row in ran.kind("stage")}
    assert {host for (host, _), state in ends.items() if state == "changed"} == {"line-1", "line-3"}

    kept = boxwright("enroll", "--site", line.site, "--yes")
    assert kept.code == Exit.PARTIAL
    assert told in kept.kind("error")[0]["message"]
    anew = boxwright("enroll", "--site", line.site, "--replace", "line-2", "--fingerprint", f"line-2={new}")
    assert anew.code == Exit.OK, anew.text
    assert boxwright("detect", "--site", line.site).code == Exit.OK


def _forget_connections(boxwright: Boxwright) -> None:
    """End the connections that ssh keeps open for a minute: they are to the machine whose key was the right one."""
    for socket in Path(boxwright.environment["BOXWRIGHT_RUNTIME"]).glob("ssh-*"):
        subprocess.run(["ssh", "-S", str(socket), "-O", "exit", "box"], capture_output=True, check=False)
