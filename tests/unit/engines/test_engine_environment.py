"""What an engine inherits, and that it does not outlive a controller that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from boxwright.engines.environment import engine_environment
from boxwright.places import ROOT


def test_secrets_of_the_shell_stay_there() -> None:
    ours = {"PATH": "/bin", "HOME": "/root", "OPENAI_KEY": "s3cret", "ANSIBLE_CONFIG": "x", "BOXWRIGHT_STATE": "/s"}
    given = engine_environment(ours)
    assert "s3cret" not in given.values()
    assert "ANSIBLE_CONFIG" not in given
    assert (given["PATH"], given["BOXWRIGHT_STATE"], given["LC_ALL"]) == ("/bin", "/s", "C.UTF-8")


def test_an_engine_ends_with_a_controller_that_was_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    engine = (
        "import os, subprocess, time\n"
        "from boxwright.engines.environment import end_with_parent\n"
        "end_with_parent()\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        # As each of Ansible's workers does.
        "worker = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(mark) + '.part'!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} {{worker.pid}}')\n"
        f"os.rename({str(mark) + '.part'!r}, {str(mark)!r})\n"
        "time.sleep(60)\n"
    )
    controller = (
        "import os, subprocess, sys\n"
        "from boxwright.engines.environment import engine_environment\n"
        f"argv = [sys.executable, '-c', {engine!r}]\n"
        "subprocess.run(argv, env=engine_environment(os.environ), start_new_session=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", controller], env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 20
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pids = mark.read_text().split()
    assert all(Path("/proc", pid).exists() for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "the engine went on"
        time.sleep(0.05)


def _alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
