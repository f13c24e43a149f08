"""The controller as a web server: of a bundle to boxes, of the board to browsers."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from typing import Any


class WebServer(ThreadingHTTPServer):
    """Answers each connection in a thread of its own, which ends with the program.

    Args:
        address: Of this machine, IPv4 or IPv6.
        port: 0: any that is free.
        handler: Answers requests.

    Raises:
        OSError: The address or the port cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128  # the boxes of a batch ask at once, by several connections each

    def __init__(self, address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = AF_INET6 if ":" in address else AF_INET
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        """Bind, and ask no name server what this machine is called: without a route to one, that takes its time."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of whoever asked and is gone; the library would print it into what a person reads."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
