"""Runs on the target, sent there as source: answers many read-only commands in one go.

Reads `[[argv, seconds], …]` as JSON on standard input and writes one JSON line for each, in order of
completion. Output travels as base64 inside JSON, so that nothing a command prints can be taken for framing.
Standard library only, for whatever Python 3 the target has.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from queue import Empty, SimpleQueue
from typing import Any

WORKERS = 4


def probe(argv: list[str], seconds: float) -> dict[str, Any]:
    """Run one command; its whole process group dies when it takes too long."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return {"rc": 127, "out": "", "err": base64.b64encode(str(error).encode()).decode()}
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return {"timed_out": True}
    return {
        "rc": process.returncode,
        "out": base64.b64encode(out).decode(),
        "err": base64.b64encode(err).decode(),
    }


def work(queue: SimpleQueue[tuple[int, list[str], float]], lock: threading.Lock) -> None:
    """Take commands from the queue until it is empty."""
    while True:
        try:
            number, argv, seconds = queue.get_nowait()
        except Empty:
            return
        line = json.dumps({"number": number, **probe(argv, seconds)}) + "\n"
        with lock:
            sys.stdout.write(line)
            sys.stdout.flush()


def main() -> None:
    """Answer the commands on standard input."""
    queue: SimpleQueue[tuple[int, list[str], float]] = SimpleQueue()
    for number, (argv, seconds) in enumerate(json.load(sys.stdin)):
        queue.put((number, argv, seconds))
    lock = threading.Lock()
    threads = [threading.Thread(target=work, args=(queue, lock)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
