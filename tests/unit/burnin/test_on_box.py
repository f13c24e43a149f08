"""The program of the box, run here as it is sent there: orders, answers, and its end with its caller."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxwright.burnin import unit

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Box:
    """The other end of the program."""

    def __init__(self, process: subprocess.Popen[str], cards: list[str]) -> None:
        self.process = process
        self.send(cards=cards)

    def send(self, **order: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"path": PATH, "folder": "/", **order}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            if "answer" in told:
                answer: dict[str, Any] = told["answer"]
                return answer
        raise AssertionError("it ended without an answer")

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        self.send(do=do, **order)
        return self.answer()


@contextmanager
def box(*, silence_s: int = 30, cards: list[str] | None = None) -> Iterator[Box]:
    source = unit.program()
    assert "SILENCE_S = 30" in source
    source = source.replace("SILENCE_S = 30", f"SILENCE_S = {silence_s}")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Box(process, cards or [])
    finally:
        assert process.stdin
        process.stdin.close()  # it ends, and all that it began
        process.wait(timeout=10)
        assert process.stdout
        process.stdout.close()


def alive(pid: str) -> bool:
    try:
        return "Z" not in Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_until_gone(pid: str) -> None:
    until = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.05)


def test_it_looks_runs_and_ends_what_takes_too_long(tmp_path: Path) -> None:
    own = tmp_path / "file"
    own.touch()
    with box() as there:
        found = there.ask("look", tools=["sh", "no-such-program"], files={"system": str(own), "models": "/no/such"})
        assert found["processors"] >= 1
        assert found["available_bytes"] > 1 << 20
        assert set(found["tools"]) == {"sh"}
        assert set(found["files"]) == {"system"}
        assert own.stat().st_size == 0
        assert there.ask("run", argv=["sh", "-c", "echo $PWD; exit 3"], limit=10) | {"seconds": 0} == {
            "code": 3,
            "out": "/\n",
            "late": False,
            "seconds": 0,
        }
        late = there.ask("run", argv=["sh", "-c", "echo begun; sleep 100"], limit=0.5)
        assert (late["late"], late["out"], late["code"]) == (True, "begun\n", -9)
        assert "FileNotFoundError" in there.ask("run", argv=["no-such-program"], limit=1)["error"]
        there.ask("allocate", file=str(own), bytes=1 << 20)
        assert own.stat().st_blocks * 512 >= 1 << 20
        there.ask("allocate", file=str(own), bytes=0)
        assert own.stat().st_size == 0
        serve = ["sleep", "99"]
        assert there.ask("serve", argv=serve) == {"code": None, "out": ""}
        assert there.ask("rest", argv=serve) == {}


def test_everything_ends_with_the_caller(tmp_path: Path) -> None:
    own = tmp_path / "pid"
    with box() as there:
        there.send(do="run", argv=["sh", "-c", f"sleep 99 & echo $! >{own}; wait"], limit=90)
        while not own.exists() or not own.read_text().strip():
            time.sleep(0.05)
        pid = own.read_text().strip()
        assert alive(pid)
        assert there.process.stdin
        there.process.stdin.close()
        assert there.process.wait(timeout=10) == 0
        wait_until_gone(pid)


def test_everything_ends_when_the_caller_falls_silent(tmp_path: Path) -> None:
    own = tmp_path / "pid"
    with box(silence_s=3) as there:
        there.send(do="run", argv=["sh", "-c", f"echo $$ >{own}; exec sleep 99"], limit=90)
        assert there.process.wait(timeout=15) == 3
        wait_until_gone(own.read_text().strip())


def test_cards_are_read_line_by_line(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"  # SIMULATED
    smi.write_text("#!/bin/sh\necho '0, 63, 412.50, 0, 0, Not Active'\necho '1, 61, 400.00, 0, 0, Active'\nsleep 9\n")
    smi.chmod(0o755)
    with box(cards=[str(smi)]) as there:
        assert there.process.stdout
        told = [json.loads(there.process.stdout.readline())["sample"] for _ in range(2)]
        assert told[-1]["cards"] == {
            "0": ["63", "412.50", "0", "0", "Not Active"],
            "1": ["61", "400.00", "0", "0", "Active"],
        }


def test_the_unit_may_write_to_its_own_files_alone() -> None:
    words = unit.script(unit.files_of("/srv/models"), 600)
    assert "--property=ProtectSystem=strict" in words
    assert "--property=ReadWritePaths=-/srv/models/.boxwright-burn-in" in words
    assert "/bin/rm -f /var/lib/.boxwright-burn-in /srv/models/.boxwright-burn-in'" in words
    assert "--property=RuntimeMaxSec=600" in words
    subprocess.run(["bash", "-n", "-c", words], check=True)
    subprocess.run(["bash", "-n", "-c", unit.leftovers(unit.files_of("/srv/models"))], check=True)
