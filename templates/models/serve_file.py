"""Serve one file to one machine over HTTP, for as long as standard input stays open.

Usage: serve-file FILE NAME LISTEN PORT PEER

FILE is all there is, under /NAME; PEER, a number, is the only address that is answered. Prints `open` once it listens
at LISTEN, PORT. Runs in a transient unit of systemd that may read and listen, and nothing else. It ends with whoever
started it: when that one dies, standard input ends. Where the network keeps that from it, it ends when nobody asks any
more. Needs nothing but Python 3.11.
"""

from __future__ import annotations

import http.server
import os
import re
import socket
import socketserver
import sys
import threading
import time
from typing import Any, ClassVar

SILENCE_S = 30  # a peer that takes nothing for this long is gone
IDLE_S = 30  # nobody asked for this long: nobody will

_COUNTING = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the one file."""

    protocol_version = "HTTP/1.1"
    server_version = "Boxwright"
    sys_version = ""
    timeout = SILENCE_S
    path_of_file = ""
    name = ""

    def do_GET(self) -> None:
        """Send the file, from the byte on that was asked for."""
        if self.path != f"/{self.name}":
            self.send_error(404)
            return
        with open(self.path_of_file, "rb") as file:  # noqa: PTH123 - a program of its own on the box
            size = os.fstat(file.fileno()).st_size
            asked = re.fullmatch(r"bytes=([0-9]{1,18})-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            if start >= size:
                self.send_error(416)
                return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            self.wfile.flush()
            try:
                self.connection.sendfile(file, start)
            except OSError:  # the peer is gone, or the disk is: it sees a cut
                self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the peer tells what it takes."""


class Server(http.server.ThreadingHTTPServer):
    """Answers one address."""

    daemon_threads = True
    peer: ClassVar[str] = ""
    asking = 0
    asked_at = time.monotonic()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Count who asks, in a thread of each."""
        with _COUNTING:
            self.asking += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with _COUNTING:
                self.asking, self.asked_at = self.asking - 1, time.monotonic()

    def service_actions(self) -> None:
        """End where nobody asks any more; called again and again."""
        if not self.asking and time.monotonic() - self.asked_at > IDLE_S:
            os._exit(0)

    def server_bind(self) -> None:
        """Bind, without asking any name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the library's interface
        """Whether it is the peer who asks."""
        return bool(client_address[0] == self.peer)


def end_with_caller() -> None:
    """Wait until nobody holds the other end of standard input, and end."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main(path: str, name: str, listen: str, port: str, peer: str) -> None:
    """Serve until the caller is gone."""
    threading.Thread(target=end_with_caller, daemon=True).start()
    Handler.path_of_file, Handler.name, Server.peer = path, name, peer
    Server.address_family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    server = Server((listen, int(port)), Handler)
    with open(path, "rb"):  # noqa: PTH123 - says here that it cannot be read
        print("open", flush=True)  # noqa: T201 - for the caller
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
