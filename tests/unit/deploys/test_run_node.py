"""The program that keeps a command on all nodes of a box or on none: real processes, on addresses of loopback."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "templates/vllm/run_node.py"
HEAD, OTHER = "127.0.0.1", "127.0.0.2"
START = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[START]:
    """Start the program as a node, with a command that leaves a file and stays."""
    with socket.create_server((HEAD, 0)) as free:
        port = str(free.getsockname()[1])
    running: list[subprocess.Popen[str]] = []

    def started(own: str, command: str, settings: str = "") -> subprocess.Popen[str]:
        rank, peer = ("0", OTHER) if own == HEAD else ("1", HEAD)
        compared = ["--settings", settings, str(tmp_path / "word")] if settings else []
        words = [sys.executable, str(PROGRAM), *compared, rank, HEAD, port, peer, own, "/bin/sh", "-c", command]
        (tmp_path / own).mkdir(exist_ok=True)
        environment = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path / own)}
        running.append(subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, start_new_session=True))
        return running[-1]

    yield started
    for process in running:
        for pid in of_session(process.pid):  # a command outlives a node that was killed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def of_session(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found


def appears(path: Path, within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path.exists()


def test_nothing_starts_before_all_nodes_are_there(start: START, tmp_path: Path) -> None:
    start(OTHER, "touch other; exec sleep 60")
    assert not appears(tmp_path / "other", 1.5)
    start(HEAD, "touch head; exec sleep 60")
    assert appears(tmp_path / "head")
    assert appears(tmp_path / "other")


@pytest.mark.parametrize(("killed", "left"), [(OTHER, HEAD), (HEAD, OTHER)])
def test_when_one_is_killed_the_other_ends_its_command_and_waits_for_it(
    start: START, tmp_path: Path, killed: str, left: str
) -> None:
    nodes = {
        own: start(own, f"trap 'touch ended-{own}; exit' TERM; touch up-{own}; sleep 60 & wait")
        for own in (HEAD, OTHER)
    }
    assert appears(tmp_path / f"up-{left}")
    assert appears(tmp_path / f"up-{killed}")
    nodes[killed].kill()
    assert appears(tmp_path / f"ended-{left}")
    (tmp_path / f"up-{left}").unlink()
    assert not appears(tmp_path / f"up-{left}", 2)
    assert nodes[left].poll() is None  # systemd counts no failure
    start(killed, "touch again; exec sleep 60")
    assert appears(tmp_path / "again")
    assert appears(tmp_path / f"up-{left}")


def test_what_a_command_leaves_behind_is_ended_with_it(start: START, tmp_path: Path) -> None:
    start(HEAD, "sleep 60 & echo $! > left-behind; wait")
    other = start(OTHER, "exec sleep 60")
    assert appears(tmp_path / "left-behind")
    pid = int((tmp_path / "left-behind").read_text())
    other.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_when_a_command_ends_its_status_is_told_and_the_other_node_waits(start: START) -> None:
    head, other = start(HEAD, "exec sleep 60"), start(OTHER, "exit 7")
    assert other.wait(10) == 7
    time.sleep(0.7)
    assert head.poll() is None


def test_a_node_that_is_stopped_lets_its_command_end_by_itself(start: START, tmp_path: Path) -> None:
    head = start(HEAD, "trap 'sleep 1; touch finished; exit' TERM; touch up; sleep 60 & wait")
    other = start(OTHER, "touch up-other; exec sleep 60")
    assert appears(tmp_path / "up")
    assert appears(tmp_path / "up-other")
    head.send_signal(signal.SIGTERM)
    assert head.wait(10) == 0
    assert (tmp_path / "finished").exists()
    time.sleep(0.7)
    assert other.poll() is None
    other.send_signal(signal.SIGTERM)  # while it waits
    assert other.wait(10) == 0


def test_strangers_are_not_let_in(start: START) -> None:
    head = start(HEAD, "touch head; exec sleep 60")
    time.sleep(0.5)
    port = int(head.args[4])  # type: ignore[index]
    with socket.create_connection((HEAD, port), source_address=("127.0.0.3", 0), timeout=5) as stranger:
        assert stranger.recv(3) == b""


def knows(folder: Path, what: str, within_s: float = 10, *, node: str = OTHER) -> bool:
    """Whether a node, the other one, comes to know this of its head."""
    end, place = time.monotonic() + within_s, folder / node / "head"
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if place.read_text() == what:
                return True
        time.sleep(0.05)
    return False


def test_nodes_of_other_settings_do_not_start_together(start: START, tmp_path: Path) -> None:
    start(HEAD, "touch head; exec sleep 60", "0" * 16)
    changed = start(OTHER, "touch other; exec sleep 60", "1" * 16)
    assert knows(tmp_path, "other")
    assert not appears(tmp_path / "head", 1.5)
    changed.terminate()
    assert changed.wait(10) == 0
    start(OTHER, "touch other; exec sleep 60", "0" * 16)
    assert appears(tmp_path / "head")
    assert appears(tmp_path / "other")
    assert knows(tmp_path, "joined")


def test_a_head_knows_whether_all_of_its_nodes_are_there(start: START, tmp_path: Path) -> None:
    start(HEAD, "exec sleep 60")
    assert knows(tmp_path, "waiting", node=HEAD)
    other = start(OTHER, "exec sleep 60")
    assert knows(tmp_path, "joined", node=HEAD)
    other.kill()
    assert knows(tmp_path, "waiting", node=HEAD)


def test_a_node_learns_that_its_head_is_proven_and_when_it_goes_back(start: START, tmp_path: Path) -> None:
    (tmp_path / "word").mkdir()
    (tmp_path / "word/proven").write_text("0" * 16 + "\n")
    head = start(HEAD, "exec sleep 60", "1" * 16)
    start(OTHER, "exec sleep 60", "1" * 16)
    assert knows(tmp_path, "joined")
    with (tmp_path / "word/trying").open("w") as trying:
        fcntl.flock(trying, fcntl.LOCK_EX)  # as serve-unit does while it tries the head
        (tmp_path / "word/proven").write_text("1" * 16 + "\n")
        assert not knows(tmp_path, "serves", 1.5)
    assert knows(tmp_path, "serves")
    head.terminate()
    assert head.wait(10) == 0
    assert knows(tmp_path, "waiting")
    start(HEAD, "exec sleep 60", "0" * 16)
    assert knows(tmp_path, "other")


def test_a_node_of_before_that_compares_no_settings_is_waited_for(start: START, tmp_path: Path) -> None:
    old = start(OTHER, "exec sleep 60")
    start(HEAD, "touch head; exec sleep 60", "1" * 16)
    assert not appears(tmp_path / "head", 2)
    old.terminate()
    assert old.wait(10) == 0
    start(OTHER, "exec sleep 60", "1" * 16)
    assert appears(tmp_path / "head")
