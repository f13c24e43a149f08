"""Runs on the box, sent there as source: runs what it is told, reads sensors and counters, and ends with its caller.

Orders come on standard input, one JSON object a line; an empty line says that the caller lives. Answers, and once a
second the sensors, go out the same way. When the input ends, or is silent for too long, everything that was started
ends with it. Standard library only, for whatever Python 3 the box has.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from boxwright.burnin.readings import contained, counters, hottest, kernel_log, read, sensors

SILENCE_S = 30  # of the caller, after which it is taken for gone
SAMPLE_S = 1.0
TAIL = 60_000  # bytes of a program's output that are told

_said = threading.Lock()
_running: list[subprocess.Popen[str]] = []
_heard = time.monotonic()


def tell(answer: dict[str, Any]) -> None:
    """Write one line to the caller; without one, there is nothing left to do."""
    with _said:
        try:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        except OSError:
            leave(0)


def leave(code: int) -> None:
    """End everything that was started, and this."""
    for process in _running:
        end(process)
    os._exit(code)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a program with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def room(path: str) -> dict[str, Any] | None:
    """What the file system of a file has; None where the file is not there."""
    try:
        found, own = os.statvfs(path), Path(path).stat()
    except OSError:
        return None
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return {"device": own.st_dev, "free": free, "total": total, "direct": takes_direct(path)}


def takes_direct(path: str) -> bool:
    """Whether a file can be written past the page cache; it is empty, and stays so."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError:
        return False
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE)
        os.pwrite(descriptor, page, 0)
        os.ftruncate(descriptor, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def look(order: dict[str, Any]) -> dict[str, Any]:
    """What a burn-in finds: processors, memory, programs, and the file systems of its files."""
    memory = dict(line.split(":", 1) for line in read(Path("/proc/meminfo")).splitlines())
    files = {name: room(path) for name, path in order["files"].items()}
    return {
        "container": contained(),
        "clock": time.time(),  # the box's own: its log is read from here on
        "processors": len(os.sched_getaffinity(0)),
        "available_bytes": int(memory["MemAvailable"].split()[0]) * 1024,
        "tools": {name: found for name in order["tools"] if (found := shutil.which(name, path=order["path"]))},
        "files": {name: found for name, found in files.items() if found},
        "sensors": {} if contained() else {name: crit for name, (_, crit) in sensors().items()},
    }


class Cards(threading.Thread):
    """The newest line of `nvidia-smi` on each card."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(daemon=True)
        self.command, self.rows = command, {}  # type: tuple[list[str], dict[str, list[str]]]

    def run(self) -> None:
        """Read until the program ends."""
        try:
            process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            return
        _running.append(process)
        assert process.stdout  # noqa: S101  piped
        for line in process.stdout:
            cells = [cell.strip() for cell in line.split(",")]
            self.rows[cells[0]] = cells[1:]


def sample(begun: float, cards: Cards | None, known: dict[str, tuple[list[Path], float | None]]) -> None:
    """Tell the sensors once a second, for ever."""
    while True:
        degrees = {name: value for name, (files, _) in known.items() if (value := hottest(files)) is not None}
        rows = cards.rows if cards else {}
        tell({"sample": {"at": round(time.monotonic() - begun, 1), "celsius": degrees, "cards": dict(rows)}})
        time.sleep(SAMPLE_S)


def allocate(order: dict[str, Any]) -> dict[str, Any]:
    """Take the room of a file, which is there already; 0 bytes give it back."""
    with Path(order["file"]).open("r+b") as file:
        os.ftruncate(file.fileno(), 0)
        if order["bytes"]:
            os.posix_fallocate(file.fileno(), 0, order["bytes"])
    return {}


def start(order: dict[str, Any]) -> subprocess.Popen[str]:
    """Begin a program, in a process group of its own."""
    process = subprocess.Popen(
        order["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True, cwd=order.get("folder"), env={**os.environ, "PATH": order["path"]},
    )  # fmt: skip
    _running.append(process)
    return process


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run a program to its end, or to the end of its time."""
    begun = time.monotonic()
    process = start(order)
    try:
        out, late = process.communicate(timeout=order["limit"])[0], False
    except subprocess.TimeoutExpired:
        end(process)
        out, late = process.communicate()[0], True
    end(process)  # what it left behind
    _running.remove(process)
    seconds = round(time.monotonic() - begun, 2)
    return {"code": process.returncode, "out": out[-TAIL:], "late": late, "seconds": seconds}


def serve(order: dict[str, Any]) -> dict[str, Any]:
    """Begin a program that goes on until the next `rest`."""
    process = start(order)
    time.sleep(0.5)
    if process.poll() is None:
        return {"code": None, "out": ""}
    return {"code": process.returncode, "out": process.communicate()[0][-TAIL:]}


def rest(order: dict[str, Any]) -> dict[str, Any]:
    """End what `serve` began."""
    argv = order["argv"]
    for process in [one for one in _running if one.args == argv]:
        end(process)
        process.communicate()
        _running.remove(process)
    return {}


OPERATIONS = {
    "look": look, "counters": counters, "kernel_log": kernel_log, "allocate": allocate, "run": run, "serve": serve,
    "rest": rest,
}  # fmt: skip


def listen(orders: queue.Queue[dict[str, Any]]) -> None:
    """Take orders until the input ends: then everything does."""
    global _heard  # noqa: PLW0603  told to the guard
    for line in sys.stdin:
        _heard = time.monotonic()
        if line.strip():
            orders.put(json.loads(line))
    leave(0)


def guard() -> None:
    """End everything when the caller is silent for too long: its machine, or the way there, is gone."""
    while time.monotonic() - _heard < SILENCE_S:
        time.sleep(1)
    leave(3)


def main() -> None:
    """Obey, one order after the other."""
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    for task in (lambda: listen(orders), guard):
        threading.Thread(target=task, daemon=True).start()
    first = orders.get()
    cards = Cards(first["cards"]) if first.get("cards") else None
    if cards:
        cards.start()
    known = {} if contained() else sensors()
    threading.Thread(target=sample, args=(time.monotonic(), cards, known), daemon=True).start()
    while True:
        order = orders.get()
        try:
            answer = OPERATIONS[order["do"]](order)
        except (OSError, KeyError, ValueError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        tell({"answer": answer})


if __name__ == "__main__":
    main()
