"""Bad input at the command itself: exit code 4, a sentence that helps, and nothing was contacted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.errors import Exit
from boxwright.places import ROOT

HOST = "hosts: [{name: box-1, address: 192.0.2.1}]\n"


@pytest.mark.parametrize(
    ("arguments", "site", "message"),
    [
        (["--profile", "labb"], f"name: s\n{HOST}", "Did you mean 'lab'?"),
        (["--profile", "lab"], f"name: s\nprxy: http://p:1\n{HOST}", "Did you mean 'proxy'?"),
        (["--profile", "lab"], f"name: s\nssh: {{port: many}}\n{HOST}", "ssh.port"),
        (["--profile", "lab"], "name: s\nhosts: [{name: a, address: b}, {name: a, address: c}]\n", "two hosts share"),
        (["--profile", "lab"], "name: s\nhosts: [{name: 'a;reboot', address: b}]\n", "a host name has"),
        (["--profile", "lab"], f"name: s\nsecrets: {{api_key: env:NOT_SET_ANYWHERE}}\n{HOST}", "NOT_SET_ANYWHERE"),
        (["--profile", "lab"], f"name: s\n\tproxy: x\n{HOST}", "tab"),
        (["--profile", "lab"], "", "empty"),
        (["--profile", "lab", "--host", "a b"], None, "is not USER@ADDRESS"),
        (["--profile", "lab", "--stages", "gatway"], f"name: s\n{HOST}", "Did you mean 'gateway'?"),
        (["--profile", "8x910b"], f"name: s\n{HOST}", "name driver, firmware, toolkit, ops, nnal under artefacts"),
        (["--profile", "8x4090"], "name: s\nhosts: [{name: a, address: b, disks: {dta: /dev/md/x}}]\n", "'data'?"),
        (["--profile", "8x4090"], "name: s\nhosts: [{name: a, address: b, disks: {data: /dev/sdb}}]\n", "disks"),
    ],
)
def test_bad_input_ends_the_command_before_anything_is_contacted(
    arguments: list[str], site: str | None, message: str, tmp_path: Path
) -> None:
    tools, called = tmp_path / "bin", tmp_path / "called"
    tools.mkdir()
    for name in ("ssh", "ansible-playbook", "systemd-nspawn"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} >>{called}\nexit 255\n")
        (tools / name).chmod(0o755)
    words = ["plan", *arguments]
    if site is not None:
        (tmp_path / "site.yml").write_text(site)
        words += ["--site", str(tmp_path / "site.yml")]
    own = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BOXWRIGHT_STATE": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "boxwright.program", *words],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == Exit.BAD_INPUT, output
    assert message in output
    assert not called.exists(), called.read_text()
