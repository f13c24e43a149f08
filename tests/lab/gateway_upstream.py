"""Runs on the twin: a simulated engine and a simulated chat page, which say what reached them.

`gateway_upstream.py engine PORT KEY` streams five events with pauses, answers completions as they
want it, and guards its pages by its key.
`gateway_upstream.py chat PORT` repeats the request as JSON and echoes one frame over a websocket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

CHUNKS = 5
PAUSE_S = 0.3


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extra: Mapping[str, str] = MappingProxyType({})

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        for name, value in self.extra.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def repeat(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body_bytes": len(self.rfile.read(length)),
        }
        self.reply(200, json.dumps(seen).encode())


class Engine(Upstream):
    key = ""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.key}":
            self.reply(401, b'{"error":"the engine did not get its key"}')
        elif self.path == "/metrics":
            self.reply(200, b"llamacpp:requests_deferred 0\n", "text/plain; version=0.0.4")
        else:
            self.repeat()

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.key}":
            self.reply(401, b'{"error":"the engine did not get its key"}')
        elif self.path == "/v1/chat/completions":
            self.stream()
        elif self.path == "/v1/completions":
            self.answer()
        else:
            self.repeat()

    def answer(self) -> None:
        """Answer as the request wants it: with a status of its own, or not at all."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wanted = json.loads(body or b"{}").get("answer", {})
        if wanted.get("cut"):
            self.close_connection = True
            return
        if "retry_after" in wanted:
            self.extra = {"Retry-After": wanted["retry_after"]}
        self.reply(wanted.get("status", 200), b'{"error":{"message":"the engine\'s own"}}')

    def stream(self) -> None:
        """Promise to keep the connection, and close it all the same: what llama-server does."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "keep-alive")
        self.end_headers()
        for number in range(CHUNKS):
            event = b'data: {"number":%d}\n\n' % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(PAUSE_S)
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True


class Chat(Upstream):
    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        else:
            self.repeat()

    def do_POST(self) -> None:
        self.repeat()

    def websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.wfile.write(self.connection.recv(64))
        self.close_connection = True


if __name__ == "__main__":
    handler: type[Upstream] = Engine if sys.argv[1] == "engine" else Chat
    if handler is Engine:
        Engine.key = sys.argv[3]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()
