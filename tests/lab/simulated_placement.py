"""An engine's SIMULATED stand-in: it has its memory where its threads touch it first, and answers that it is ready.

Usage: simulated_placement.py PORT WEIGHTS|- MIB PROCESSORS...

It maps the file of weights and reads all of it, as the page cache has it; and it has MIB of memory of its own, of which
each thread, bound to one of the processors as llama.cpp's are with `--numa distribute`, touches an equal part. Without
processors one thread does, wherever it is put.
"""

from __future__ import annotations

import http.server
import mmap
import os
import sys
import threading
from pathlib import Path

PAGE = 4096


def touch(memory: mmap.mmap, part: int, of: int, processor: int | None) -> None:
    """Write to a part of the memory, from one processor."""
    if processor is not None:
        os.sched_setaffinity(0, {processor})  # of this thread
    for place in range(part * len(memory) // of, (part + 1) * len(memory) // of, PAGE):
        memory[place] = 1


class Health(http.server.BaseHTTPRequestHandler):
    """Answers that it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(port: str, weights: str, mib: str, *processors: str) -> None:
    held = []
    if weights != "-":
        with Path(weights).open("rb") as file:
            held.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        sum(held[0][place] for place in range(0, len(held[0]), PAGE))
    memory = mmap.mmap(-1, int(mib) << 20)
    parts = [int(one) for one in processors] or [None]
    threads = [threading.Thread(target=touch, args=(memory, part, len(parts), one)) for part, one in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    http.server.HTTPServer(("127.0.0.1", int(port)), Health).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
