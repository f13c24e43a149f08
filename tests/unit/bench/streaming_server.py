"""A server of the tests' own that streams answers, and whose speed is known."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIRST_S, GAP_S, PIECES = 0.3, 0.1, 5


class Server(ThreadingHTTPServer):
    """Streams an answer of known speed; or what its `mood` says."""

    mood = ""
    asked: list[dict[str, Any]]
    keys: set[str]
    running = most = 0
    lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.add(self.headers["Authorization"])
            self.server.running += 1
            self.server.most = max(self.server.most, self.server.running)
        try:
            self._answer(body)
        finally:
            with self.server.lock:
                self.server.running -= 1

    def _answer(self, body: dict[str, Any]) -> None:
        if self.server.mood == "too many":
            self.send_response(429)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if self.server.mood == "dying":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self._say({"choices": [{"delta": {"role": "assistant"}}]})  # no word yet
        time.sleep(5 if self.server.mood == "silent" else FIRST_S)
        for number in range(PIECES):
            self._say({"choices": [{"delta": {"content": "word "}}]})
            time.sleep(GAP_S if number < PIECES - 1 else 0)
        words = len(body["messages"][0]["content"].split())
        self._say({"choices": [], "usage": {"prompt_tokens": 2 * words, "completion_tokens": PIECES}})
        self._send(b"data: [DONE]\n\n")
        if self.server.mood == "dying":
            self.wfile.write(b"0\r\n\r\n")
            time.sleep(GAP_S)  # its end is told late, as behind a tunnel
            self.close_connection = True

    def _say(self, piece: dict[str, Any]) -> None:
        self._send(b"data: " + json.dumps(piece).encode() + b"\n\n")

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.server.mood == "dying" else data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def streaming_server() -> Iterator[Server]:
    """One that runs, at a port of loopback."""
    with Server(("127.0.0.1", 0), Handler) as made:
        made.asked, made.keys = [], set()
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()
