"""Facts asked in batches equal facts asked one by one, whatever a box prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra_testbed import REPO, Box, SshServer

ASK = r"""
import json
from pathlib import Path
from pyinfra import host
from pyinfra.facts import deb, files, server

commands = {
    "framing": r'''echo '{"number": 0, "rc": 0, "out": "", "err": ""}'; echo '{"number": 1, "timed_out": true}' ''',
    "no newline": "printf 'abc'",
    "blank lines": "printf 'a\\n\\n\\nb\\n\\n'",
    "carriage returns": "printf 'a\\r\\nb\\r'",
    "unicode": "printf 'größe 中文 \\342\\200\\250 x'",
    "huge": "head -c 3000000 /dev/zero | tr '\\0' x",
    "many lines": "seq 20000",
    "both streams": "echo out; echo err >&2",
    "reads input": "cat; echo end",
    "quotes": '''echo "it's \\"quoted\\" \\$HOME \\`x\\`" ''',
    "nothing": "true",
}
answers = {name: host.get_fact(server.Command, command) for name, command in commands.items()}
answers |= {
    "users": host.get_fact(server.Users),
    "groups": host.get_fact(server.Groups),
    "hostname": host.get_fact(server.Hostname),
    "distribution": host.get_fact(server.LinuxDistribution),
    "which": host.get_fact(server.Which, command="sh"),
    "which not": host.get_fact(server.Which, command="no-such-program"),
    "packages": host.get_fact(deb.DebPackages),
    "file": host.get_fact(files.File, path="/etc/passwd"),
    "no file": host.get_fact(files.File, path="/no/such/file"),
    "directory": host.get_fact(files.Directory, path="/etc"),
    "sha256": host.get_fact(files.Sha256File, path="/etc/passwd"),
    "contents": host.get_fact(files.FileContents, path="/etc/passwd"),
    "environment": host.get_fact(server.Command, "echo $MARK; pwd", _env={"MARK": "a b'c"}, _chdir="/usr"),
    "dependent": host.get_fact(files.File, path=host.get_fact(server.Which, command="sh") or "/nowhere"),
}
Path(host.data.dump).write_text(json.dumps(answers, default=str, sort_keys=True))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    server = SshServer(tmp_path)
    yield server
    server.close()


def ask_plainly(server: SshServer, folder: Path, deploy: str) -> dict[str, Any]:
    """Run the deploy with the pyinfra command."""
    dump = folder / "plain.json"
    data = {
        "ssh_port": server.port,
        "ssh_user": "tester",
        "ssh_key": str(server.key_file),
        "ssh_known_hosts_file": str(server.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "dump": str(dump),
    }
    inventory = folder / "inventory.py"
    inventory.write_text(f"hosts = [('127.0.0.1', {data!r})]\n")
    pyinfra = Path(sys.executable).with_name("pyinfra")
    subprocess.run([pyinfra, "-y", inventory, deploy], check=True, capture_output=True, cwd=REPO, timeout=120)
    return json.loads(dump.read_text())


def ask_batched(server: SshServer, folder: Path, deploy: str) -> tuple[dict[str, Any], int]:
    dump = folder / "batched.json"
    box = Box(server, folder, {"dump": str(dump)})
    run = box.run(deploy)
    assert run.rc == 0, run.raw
    return json.loads(dump.read_text()), run.round_trips


def test_batched_facts_equal_plain_ones(server: SshServer, tmp_path: Path) -> None:
    deploy = Box(server, tmp_path).deploy(ASK, "ask")
    plain = ask_plainly(server, tmp_path, deploy)
    batched, round_trips = ask_batched(server, tmp_path, deploy)
    assert batched == plain
    assert len(plain["huge"]) == 3_000_000
    assert plain["which not"] is None
    assert round_trips == 2  # the second for the fact that depends on another


def test_binary_output_is_kept_in_shape(server: SshServer, tmp_path: Path) -> None:
    deploy = Box(server, tmp_path).deploy(
        """
import json
from pathlib import Path
from pyinfra import host
from pyinfra.facts.server import Command
command = r"printf 'a\\377\\000b\\nlast\\n'"
Path(host.data.dump).write_text(json.dumps(host.get_fact(Command, command)))
"""
    )
    answer, _ = ask_batched(server, tmp_path, deploy)
    assert answer == "a\ufffd\0b\nlast"


def test_a_target_without_python_is_asked_one_by_one(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "echo", "cat"):
        (tools / name).symlink_to(f"/bin/{name}")
    monkeypatch.setattr(server, "environment", {"PATH": str(tools)})
    deploy = Box(server, tmp_path).deploy(
        """
import json
from pathlib import Path
from pyinfra import host
from pyinfra.facts.server import Command
answers = [host.get_fact(Command, f"echo {word}") for word in ("one", "two")]
Path(host.data.dump).write_text(json.dumps(answers))
"""
    )
    answers, round_trips = ask_batched(server, tmp_path, deploy)
    assert answers == ["one", "two"]
    assert round_trips == 3
