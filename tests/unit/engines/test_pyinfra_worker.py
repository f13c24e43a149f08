"""The worker against a real shell behind a real ssh connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyinfra_testbed import REPO, Box, SshServer, finish, start

from boxwright.engines.events import Outcome

SITE = """
from io import StringIO
from pyinfra import host
from pyinfra.operations import files, server
root = host.data.folder
files.directory(name="Folder", path=f"{root}/etc/app", mode="750")
config = files.put(
    name="Config", src=StringIO(f"key={host.data.api_key}\\nport={host.data.port}\\n"),
    dest=f"{root}/etc/app/conf", mode="600",
)
files.line(name="Line", path=f"{root}/lines", line="hello world")
files.link(name="Link", path=f"{root}/link", target=f"{root}/etc")
server.shell(name="Restart", commands=[f"echo restarted >> {root}/restarts"], _if=config.did_change)
"""
SECRET = "hunter2-'quoted'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    server = SshServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def box(server: SshServer, tmp_path: Path) -> Box:
    (tmp_path / "target").mkdir()
    return Box(server, tmp_path, {"api_key": SECRET, "port": 8080})


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_builds_then_finds_nothing_to_do_in_a_handful_of_round_trips(box: Box) -> None:
    site = box.deploy(SITE)
    first = box.run(site)
    assert first.rc == 0, first.stderr
    assert set(first.outcomes().values()) == {Outcome.CHANGED}
    conf = box.folder / "target/etc/app/conf"
    assert conf.read_text() == f"key={SECRET}\nport=8080\n"
    assert conf.stat().st_mode & 0o777 == 0o600

    before = snapshot(box.folder / "target")
    box.server.commands.clear()
    second = box.run(site)
    assert second.rc == 0
    assert second.outcomes() == dict.fromkeys(first.outcomes(), Outcome.OK) | {"Restart": Outcome.SKIPPED}
    assert snapshot(box.folder / "target") == before
    assert second.round_trips == len(box.server.commands) <= 3


def test_dry_run_tells_the_diff_and_writes_nothing(box: Box) -> None:
    site = box.deploy(SITE)
    before = snapshot(box.folder / "target")
    foreseen = box.run(site, dry_run=True)
    assert foreseen.rc == 0
    assert set(foreseen.outcomes().values()) == {Outcome.CHANGED}
    assert snapshot(box.folder / "target") == before
    (config,) = foreseen.finished("Config")
    assert "--- /dev/null\n" in config.diff
    assert "+port=8080\n" in config.diff
    (restart,) = foreseen.finished("Restart")
    assert "echo restarted" in restart.diff

    box.run(site)
    box.data["port"] = 9090
    changed = box.run(site, dry_run=True)
    (config,) = changed.finished("Config")
    assert "-port=8080\n" in config.diff
    assert "+port=9090\n" in config.diff
    box.data["port"] = 8080
    assert Outcome.CHANGED not in box.run(site, dry_run=True).outcomes().values()


def test_a_secret_that_only_the_box_knows_is_not_shown(box: Box) -> None:
    """Of another controller, or from before it was changed in the vault."""
    site = box.deploy(SITE)
    box.run(site)
    conf = box.folder / "target/etc/app/conf"
    conf.write_text("key=of another vault\nport=80\nolder-key=theirs\nbare words\n")
    foreseen = box.run(site, dry_run=True)
    (config,) = foreseen.finished("Config")
    assert "-port=80\n" in config.diff
    assert config.diff.count("-[not shown: this file holds secrets]") == 3
    for text in (config.diff, foreseen.stderr):
        assert "another vault" not in text
        assert "theirs" not in text
        assert "bare words" not in text


def test_secrets_stay_out_of_events_and_logs(box: Box) -> None:
    box.data["nested"] = {"users": [{"admin_password": "correct horse\nbattery staple"}]}
    site = box.deploy(
        SITE
        + """
import sys
password = host.data.nested["users"][0]["admin_password"]
print("printed", host.data.api_key)
print("printed", password, file=sys.stderr)
server.shell(name=f"Login {host.data.api_key}", commands=[f"echo '{password}' >&2; exit 7"])
"""
    )
    for run in (box.run(site, dry_run=True), box.run(site)):
        assert "printed" in run.stderr
        for text in (run.raw, run.stderr):
            for secret in (SECRET, "hunter2", "correct horse", "battery staple"):
                assert secret not in text
    assert run.rc == 2
    assert "[REDACTED]" in run.finished()[-2].output


def test_a_failing_operation_stops_its_host_alone(box: Box) -> None:
    site = box.deploy(
        """
from pyinfra import host
from pyinfra.operations import server
server.shell(name="First", commands=["echo one; echo two >&2; exit " + host.data.exit])
server.shell(name="Second", commands=["true"])
"""
    )
    other = box.deploy(SITE, "other")
    hosts = [
        box.host("bad", data={"exit": "3", "folder": "/nonexistent"}),
        box.host("good", data={"exit": "0", **box.host()["data"]}),
    ]
    run = box.run(site, other, hosts=hosts)
    assert run.rc == 2
    assert run.outcomes("bad") == {"First": Outcome.FAILED}
    (failed,) = run.finished("First", "bad")
    assert failed.output.splitlines() == ["one", "two"]
    assert len(run.outcomes("good")) == 7


def test_an_error_in_a_deploy_file_names_file_and_line(box: Box) -> None:
    broken = box.deploy("from pyinfra import host\n\nhost.data.folder + 1\n", "broken")
    run = box.run(broken)
    assert run.rc == 2
    (failed,) = run.finished("facts")
    assert failed.outcome is Outcome.FAILED
    assert failed.message.startswith(f"{broken}:3: TypeError")
    syntax = box.deploy("x = (\n", "syntax")
    assert f"{syntax}:1: SyntaxError" in box.run(syntax).finished("facts")[0].message


def test_a_command_during_preparation_runs_once_and_on_true_answers(box: Box) -> None:
    site = box.deploy(
        """
from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.facts.server import Command
from pyinfra.operations import server
said = host.get_fact(Command, "echo word")
host.run_shell_command(StringCommand(f"echo {said} >> {host.data.folder}/said"))
server.shell(name="After", commands=["true"])
"""
    )
    assert box.run(site).outcomes() == {"After": Outcome.CHANGED}
    assert (box.folder / "target/said").read_text() == "word\n"


def test_a_failing_fact_is_named(box: Box) -> None:
    site = box.deploy(
        "from pyinfra import host\nfrom pyinfra.facts.server import Command\n"
        "host.get_fact(Command, 'echo broken >&2; exit 9')\n"
    )
    run = box.run(site)
    assert run.rc == 2
    assert "fact server.Command failed: exit code 9: broken" in run.finished("facts")[0].message


def test_later_operations_see_what_earlier_ones_wrote(box: Box) -> None:
    """Answers are dropped on every write: within an operation, between operations, and in a waiting callback."""
    site = box.deploy(
        """
import time
from pyinfra import host
from pyinfra.api import operation
from pyinfra.facts.files import File
from pyinfra.facts.server import Command
from pyinfra.operations import python, server
count = f"{host.data.folder}/count"

@operation()
def append():
    for _ in range(3):
        before = host.get_fact(Command, f"cat {count} 2>/dev/null || :")
        yield f"echo '{before or ''}x' > {count}"

def wait():
    deadline = time.monotonic() + 10
    while not host.get_fact(File, path=count + ".late"):
        assert time.monotonic() < deadline, "the fact never changed"
        time.sleep(0.1)

append(name="Append")
append(name="Append again")
server.shell(name="Start slowly", commands=[f"(sleep 1; touch {count}.late) >/dev/null 2>&1 &"])
python.call(name="Wait", function=wait)
"""
    )
    run = box.run(site)
    assert run.rc == 0, run.raw
    assert (box.folder / "target/count").read_text() == "xxxxxx\n"


def test_nested_operations_and_callback_errors_are_told(box: Box) -> None:
    site = box.deploy(
        """
from pyinfra import host, state
from pyinfra.operations import python, server
def nested():
    assert state.inventory.host.name == host.name
    server.shell(name="Inner", commands=[f"echo {host.name} > {host.data.folder}/{host.name}"])
    if host.name == "two":
        raise RuntimeError("no luck")
python.call(name="Outer", function=nested)
"""
    )
    run = box.run(site, hosts=[box.host("one"), box.host("two")])
    assert run.outcomes("one") == {"Outer": Outcome.CHANGED}
    assert run.outcomes("two") == {"Outer": Outcome.FAILED}
    assert "no luck" in run.finished("Outer", "two")[0].message
    assert [(box.folder / "target" / name).read_text() for name in ("one", "two")] == ["one\n", "two\n"]


def test_a_hung_command_ends_at_the_deadline(box: Box) -> None:
    site = box.deploy("from pyinfra.operations import server\nserver.shell(name='Hang', commands=['sleep 60.25'])\n")
    started = time.monotonic()
    run = box.run(site, operation_timeout_s=2)
    assert time.monotonic() - started < 15
    assert run.rc == 2
    assert "no end after 2 s" in run.finished("Hang")[0].message
    assert "sleep 60.25" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_an_operation_may_take_the_time_that_it_says(box: Box) -> None:
    site = box.deploy(
        "from pyinfra.operations import server\nserver.shell(name='Fetch', commands=['sleep 3'], _timeout=30)\n"
    )
    assert box.run(site, operation_timeout_s=1).outcomes() == {"Fetch": Outcome.CHANGED}


def test_unreachable_hosts_do_not_hold_up_others(box: Box, tmp_path: Path) -> None:
    site = box.deploy("from pyinfra.operations import server\nserver.shell(name='Do', commands=['true'])\n")
    other_key = tmp_path / "other_known_hosts"
    other_key.write_text(box.server.known_hosts.read_text().replace(f":{box.server.port}", ":1"))
    hosts = [
        box.host("good"),
        box.host("refused", port=free_port()),
        box.host("unpinned", known_hosts=str(other_key)),
        box.host("no-pins", known_hosts=str(tmp_path / "missing")),
    ]
    run = box.run(site, hosts=hosts)
    assert run.rc == 4
    assert run.outcomes("good") == {"Do": Outcome.CHANGED}
    for name in ("refused", "unpinned", "no-pins"):
        (connect,) = run.finished("connect", name)
        assert connect.outcome is Outcome.UNREACHABLE
        assert connect.message


def test_a_changed_host_key_is_refused(box: Box, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    impostor = SshServer(tmp_path / "second")
    try:
        pinned = box.server.known_hosts.read_text().replace(str(box.server.port), str(impostor.port))
        impostor.known_hosts.write_text(pinned)
        host = box.host(port=impostor.port, known_hosts=str(impostor.known_hosts))
        run = box.run(box.deploy("raise SystemExit\n"), hosts=[host])
    finally:
        impostor.close()
    assert run.rc == 4
    assert "another key than the pinned one" in run.finished("connect")[0].message


def test_a_connection_lost_in_the_middle_is_unreachable(box: Box) -> None:
    site = box.deploy("from pyinfra.operations import server\nserver.shell(name='Hang', commands=['sleep 60'])\n")
    worker = start({"hosts": [box.host()], "deploys": [site]})
    wait_for(lambda: any("sleep 60" in command for command in box.server.commands))
    box.server.hang_up()
    run = finish(worker)
    assert run.rc == 4
    assert run.outcomes() == {"Hang": Outcome.UNREACHABLE}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_the_worker_at_once(box: Box, signum: signal.Signals) -> None:
    site = box.deploy("from pyinfra.operations import server\nserver.shell(name='Hang', commands=['sleep 60'])\n")
    worker = start({"hosts": [box.host()], "deploys": [site]})
    wait_for(lambda: any("sleep 60" in command for command in box.server.commands))
    started = time.monotonic()
    os.kill(worker.pid, signum)
    run = finish(worker)
    assert time.monotonic() - started < 2
    assert run.rc == 130
    assert run.events[-1].resource == "Hang"


def test_a_bad_job_is_refused_without_repeating_it() -> None:
    worker = subprocess.run(
        [sys.executable, "-m", "boxwright.engines.pyinfra.worker"],
        input='{"hosts": [{"name": "a", "data": {"api_key": "hunter2"}}], "deploys": ["x.py"]}',
        capture_output=True,
        text=True,
        cwd=REPO,
        check=False,
    )
    assert worker.returncode == 1
    assert worker.stdout == ""
    assert "hosts.0.known_hosts" in worker.stderr
    assert "hunter2" not in worker.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
