"""Serves the board to browsers, and nothing else: one page, by GET alone."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.web_server import WebServer


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port from `ADDRESS:PORT`, `[IPV6]:PORT` or a port alone, which is of 127.0.0.1.

    Raises:
        BadInputError: It is none of these.
    """
    address, _, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        ip_address(address)
        number = int(port) if port.isascii() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise BadInputError(
            f"--listen: '{text}' is no ADDRESS:PORT",
            hint="For example 127.0.0.1:8700; 0.0.0.0:8700 shows the board to everybody on the network.",
        )
    return address, number


def make_server(address: str, port: int, draw: Callable[[], str]) -> WebServer:
    """A server that draws the page anew for each request.

    Raises:
        BoxwrightError: The address or the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = draw().encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the page is asked for every few seconds."""

    try:
        return WebServer(address, port, Handler)
    except OSError as error:
        raise BoxwrightError(
            f"cannot listen on {address} port {port}: {error.strerror or error}",
            hint="Another board may be there already. Choose another: --listen ADDRESS:PORT",
        ) from None
