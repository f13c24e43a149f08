"""The deploy lock: one operator at a time, and no lock outlives its holder.

The script that runs on a box runs here, with the real flock. In the place of ssh stands a program that gives it a
folder of the test's own instead of /run/boxwright, and less patience.
"""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError, LockedError, UnreachableError
from boxwright.transport import lock
from boxwright.transport.lock import DeployLock, Holder
from boxwright.transport.ssh import Endpoint

BOX = Endpoint("box-1", "192.0.2.1", 22, "root", None, None, 1)
ADA = Holder("ada@desk", "2026-01-02T03:04:05Z", "provision --profile lab")
BOB = Holder("bob@bench", "2026-01-02T04:00:00Z", "plan --profile lab")

StandIn = Callable[[str, str], None]
HERE = 'script=${!#//\\/run\\/boxwright/%s}; eval "exec ${script//-t 90/-t %s}"'


@pytest.fixture
def box(stand_in: StandIn, tmp_path: Path, own_places: Path) -> Path:
    """The box's folder of locks."""
    folder = tmp_path / "run-on-box"
    stand_in("ssh", HERE % (str(folder).replace("/", "\\/"), 90))
    return folder


def is_free(folder: Path, *, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        with (folder / "deploy.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
            else:
                return True


def test_a_second_operator_is_told_who_is_at_work_since_when_and_on_what(box: Path) -> None:
    with DeployLock(BOX, ADA), pytest.raises(LockedError) as refused, DeployLock(BOX, BOB):
        pass
    assert refused.value.message == (
        "ada@desk has been at work on this box since 2026-01-02T03:04:05Z: provision --profile lab"
    )
    assert refused.value.where == "box-1"
    assert "Wait for it" in refused.value.hint


def test_the_refused_one_leaves_the_first_its_lock(box: Path) -> None:
    with DeployLock(BOX, ADA):
        with pytest.raises(LockedError), DeployLock(BOX, BOB):
            pass
        assert json.loads((box / "deploy.json").read_text()) == vars(ADA)
        assert not is_free(box, within_s=0)


def test_it_is_let_go_of_at_the_end_and_after_an_error(box: Path) -> None:
    for error in (None, ValueError):
        try:
            with DeployLock(BOX, ADA):
                if error:
                    raise error
        except ValueError:
            pass
        assert is_free(box)
        assert not (box / "deploy.json").exists()


def test_a_killed_controller_holds_nothing(box: Path) -> None:
    program = (
        "import time; from pathlib import Path\n"
        "from boxwright.transport.lock import DeployLock, Holder; from boxwright.transport.ssh import Endpoint\n"
        f"with DeployLock(Endpoint{tuple(vars(BOX).values())!r}, Holder{tuple(vars(ADA).values())!r}):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    controller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert controller.stdout
    assert controller.stdout.readline() == "held\n"
    assert not is_free(box, within_s=0)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert is_free(box)
    with DeployLock(BOX, BOB):
        assert json.loads((box / "deploy.json").read_text())["who"] == "bob@bench"


def test_a_holder_that_has_gone_silent_loses_it_and_one_that_gives_signs_of_life_does_not(
    box: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("ssh", HERE % (str(box).replace("/", "\\/"), 3))  # seconds of silence, in the place of 90
    with DeployLock(BOX, ADA):  # whose first sign of life comes after twenty
        assert is_free(box, within_s=10)
    monkeypatch.setattr(lock, "_HEARTBEAT_S", 0.2)
    with DeployLock(BOX, ADA):
        assert not is_free(box, within_s=5)


def test_it_is_taken_again_after_a_reboot(box: Path) -> None:
    with DeployLock(BOX, ADA) as held:
        held.renew()
        assert not is_free(box, within_s=0)
        with pytest.raises(LockedError, match="ada@desk"), DeployLock(BOX, BOB):
            pass
    assert is_free(box)


@pytest.mark.parametrize("said", ["", "not JSON", "[]", '{"who": "ada"}'])
def test_a_holder_that_has_not_said_who_it_is_refuses_all_the_same(
    stand_in: StandIn, own_places: Path, said: str
) -> None:
    stand_in("ssh", f"echo '{said}'; exit 75")
    with pytest.raises(LockedError, match="another run has just begun on this box"), DeployLock(BOX, ADA):
        pass


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("Permission denied (publickey).", "ssh lets nobody in with this key"),
        ("Host key verification failed.", "its host key is not known yet"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "another key than the pinned one"),
        ("connect to host 192.0.2.1 port 22: No route to host", "ssh did not get in"),
    ],
)
def test_a_box_that_cannot_be_entered_is_not_called_locked(
    stand_in: StandIn, own_places: Path, stderr: str, message: str
) -> None:
    stand_in("ssh", f"echo '{stderr}' >&2; exit 255")
    with pytest.raises(UnreachableError, match=message) as refused, DeployLock(BOX, ADA):
        pass
    assert stderr in refused.value.output


@pytest.mark.parametrize(
    ("stderr", "code"), [("sudo: a password is required", 1), ("bash: line 6: flock: command not found", 127)]
)
def test_a_box_without_a_lock_to_give_is_neither_locked_nor_out_of_reach(
    stand_in: StandIn, own_places: Path, stderr: str, code: int
) -> None:
    stand_in("ssh", f"echo '{stderr}' >&2; exit {code}")
    with pytest.raises(BoxwrightError, match=f"ended with code {code}") as refused, DeployLock(BOX, ADA):
        pass
    assert type(refused.value) is BoxwrightError
    assert refused.value.output.strip() == stderr
    assert "sudo without a password" in refused.value.hint
