"""The real probe, run by a real shell: on this machine, with hostile tools on its PATH, and over ssh."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detection_answers import CATALOGUE, MARK

from boxwright.console import Console
from boxwright.detection import collect, verbs
from boxwright.detection.collect import PROBE, machine_of
from boxwright.detection.machine import Machine, Unknown
from boxwright.detection.sections import Section, read_sections
from boxwright.errors import BadInputError, Exit, UnreachableError
from boxwright.lab.spec import RunningTwin
from boxwright.transport.ssh import Endpoint

Tool = Callable[[str, str], None]


def run_probe(shell: str = "sh", **environment: str) -> str:
    argv = [shell, str(PROBE), MARK]
    done = subprocess.run(argv, capture_output=True, env=os.environ | environment, timeout=120, check=False)
    assert done.returncode == 0
    return done.stdout.decode()


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Put a script of some name before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    return write


def here(answer: str) -> Machine:
    return machine_of("here", answer, MARK, CATALOGUE, now=time.time())


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_this_machine(shell: str) -> None:
    found = here(run_probe(shell))
    assert not isinstance(found.processors, Unknown)
    assert found.processors.sockets * found.processors.cores_per_socket >= 1
    assert isinstance(found.memory_kib, int)
    assert not isinstance(found.kernel, Unknown)
    assert found.kernel.release == os.uname().release
    assert not isinstance(found.numa_nodes, Unknown)
    assert all(node.cpus for node in found.numa_nodes)
    assert not isinstance(found.operating_system, Unknown)
    assert found.nvidia == Unknown(reason="nvidia-smi: not installed") or not isinstance(found.nvidia, Unknown)


def test_the_locale_of_the_host_does_not_matter() -> None:
    found = here(run_probe(LANG="de_DE.UTF-8", LC_ALL="de_DE.UTF-8", LANGUAGE="de"))
    assert not isinstance(found.processors, Unknown)


def test_a_tool_that_hangs_ends_in_its_time(tool: Tool) -> None:
    tool("timeout", 'shift 2; shift; exec /usr/bin/timeout -k 1 1 "$@"')  # each tool's seconds become one
    tool("nvidia-smi", "trap '' TERM; while :; do sleep 1; done")
    found = here(run_probe())
    assert found.nvidia == Unknown(reason="nvidia-smi: no answer in time")
    assert not isinstance(found.disks, Unknown)


def test_tools_that_fail_shout_or_print_rubbish(tool: Tool) -> None:
    tool("nvidia-smi", 'echo "Unable to determine the device handle for GPU 0000:21:00.0: Unknown Error"; exit 15')
    tool("lscpu", r"printf '\377\376\000 ERR!\n'; exit 0")
    tool("ip", "echo kaputt >&2; exit 3")
    tool("ss", "head -c 5000000 /dev/zero")
    found = here(run_probe())
    assert found.nvidia == Unknown(reason="nvidia-smi: it ended with code 15")
    assert isinstance(found.processors, Unknown)
    assert found.nics == Unknown(reason="ip: it ended with code 3: kaputt") or found.nics == ()
    assert found.listeners == Unknown(reason="ss: it never ended, or its output was too long")
    assert not isinstance(found.disks, Unknown)


def test_a_tool_cannot_end_its_own_section(tool: Tool) -> None:
    tool("nvidia-smi", f"echo '{MARK} end'; echo '{MARK} begin pci'; echo x")
    sections = read_sections(run_probe(), MARK)
    assert sections["nvidia_smi"].output.startswith(f"{MARK} end\n")
    assert sections["pci"].output != "x\n"


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    subprocess.run(["sh", str(PROBE), MARK], cwd=tmp_path, capture_output=True, check=True)
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def server(tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "engines"))
    from pyinfra_testbed import SshServer

    running = SshServer(tmp_path)
    yield running
    running.close()


def endpoint_of(server: Any) -> Endpoint:
    return Endpoint("box", "127.0.0.1", server.port, "root", server.key_file, server.known_hosts, 10)


def test_one_round_trip_over_ssh(server: Any) -> None:
    found = collect.detect(endpoint_of(server), CATALOGUE)
    assert found.host == "box"
    assert not isinstance(found.processors, Unknown)
    assert len(server.commands) == 1


def test_what_was_said_before_a_hang_counts(server: Any, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("timeout", 'shift 2; shift; exec "$@"')  # stands for a process that no signal ends
    tool("nvidia-smi", "sleep 12")
    monkeypatch.setattr(collect, "LONGEST_S", 6)
    found = collect.detect(endpoint_of(server), CATALOGUE)
    assert found.nvidia == Unknown(reason="nvidia-smi: it never ended, or its output was too long")
    assert not isinstance(found.processors, Unknown)


@pytest.fixture
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verb look at this machine, without ssh."""
    monkeypatch.setattr(verbs, "detect_machine", lambda *_: here(run_probe()))


def said(*, json: bool = False, **arguments: Any) -> tuple[Exit, str]:
    out = io.StringIO()
    code = verbs.detect(Console(json=json, stdout=out, stderr=out), host="root@192.0.2.1", site="", **arguments)
    return code, out.getvalue()


@pytest.mark.usefixtures("on_this_machine")
def test_the_verb_tells_a_person() -> None:
    code, text = said()
    assert code is Exit.OK
    assert "Processors" in text
    assert "Closest" in text


@pytest.mark.usefixtures("on_this_machine")
def test_the_verb_tells_a_program() -> None:
    code, text = said(json=True)
    lines = [json.loads(line) for line in text.splitlines()]
    assert code is Exit.OK
    assert lines[0]["type"] == "machine"
    assert {"host", "processors", "accelerators"} <= set(lines[0])
    assert "lab" in {line["profile"] for line in lines if line["type"] == "match"}


@pytest.mark.usefixtures("on_this_machine")
def test_the_verb_prints_a_profile_file_and_nothing_else() -> None:
    code, text = said(as_profile_file=True)
    assert code is Exit.OK
    assert text.startswith("# Save as inventories/profiles/box-")


def test_a_host_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> Machine:
        raise UnreachableError("ssh did not get in")

    monkeypatch.setattr(verbs, "detect_machine", unreachable)
    assert said()[0] is Exit.ERROR


@pytest.mark.parametrize(
    ("host", "site", "message"),
    [
        ("", "", "which machine?"),
        ("root@", "", "is not USER@ADDRESS"),
        ("", "labb", "Did you mean 'lab'"),
        ("lab-7", "lab", "site 'lab' has no 'lab-7'"),
    ],
)
def test_wrong_arguments(host: str, site: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        verbs.endpoints(host, site)


def test_the_hosts_of_a_site(tmp_path: Path) -> None:
    site = tmp_path / "bench.yml"
    hosts = "hosts: [{name: box-1, address: 192.0.2.1}, {name: box-2, address: 192.0.2.2}]"
    site.write_text(f"name: bench\n{hosts}\nssh: {{user: admin, port: 2222}}\n")
    every = verbs.endpoints("", str(site))
    assert [(one.name, one.user, one.port) for one in every] == [("box-1", "admin", 2222), ("box-2", "admin", 2222)]
    for chosen in ("box-2", "192.0.2.2", "admin@192.0.2.2"):
        assert [one.name for one in verbs.endpoints(chosen, str(site))] == ["box-2"]
    with pytest.raises(BadInputError, match="has 2"):
        verbs.detect(Console(), host="", site=str(site), as_profile_file=True)


def test_the_twins_of_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lab:
        def twin(self, name: str) -> RunningTwin:
            return RunningTwin(name, "10.0.0.9", Path("/key"), Path("/known"), "debian-12")

    monkeypatch.setattr(verbs, "lab_of", lambda *_: Lab())
    (twin,) = verbs.endpoints("", "lab")
    assert (twin.name, twin.address, twin.key) == ("lab-1", "10.0.0.9", Path("/key"))


def test_a_section_that_the_probe_never_reached() -> None:
    found = here(run_probe().split(f"{MARK} begin lscpu")[0])
    assert found.processors == Unknown(reason="lscpu: the probe did not get there")
    assert isinstance(Section("x", "", None).excuse, str)
