"""The controller's web server asks nobody for its name, answers many at once, and stays silent of who is gone."""

from __future__ import annotations

import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from boxwright.model.base import bracketed
from boxwright.web_server import WebServer

RESET = struct.pack("ii", 1, 0)  # closed without a word


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/wrong":
            raise ValueError("a mistake of ours")
        time.sleep(0.2)  # the answer finds nobody
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    def asked(*_: object) -> str:
        raise AssertionError("a name server was asked")

    monkeypatch.setattr(socket, "getfqdn", asked)
    made = WebServer(request.param, 0, Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def hang_up(server: WebServer, said: bytes) -> None:
    with socket.create_connection((str(server.server_address[0]), server.server_address[1])) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.sendall(said)
        time.sleep(0.05)


def test_whoever_is_gone_is_not_told_of_on_the_console(server: WebServer, capfd: pytest.CaptureFixture[str]) -> None:
    for said in (b"GET / HT", b"GET / HTTP/1.1\r\n\r\n"):
        hang_up(server, said)
    time.sleep(0.5)
    assert capfd.readouterr() == ("", "")
    hang_up(server, b"GET /wrong HTTP/1.1\r\n\r\n")
    time.sleep(0.2)
    assert "a mistake of ours" in capfd.readouterr().err


def test_a_batch_that_asks_at_once_is_answered_at_once(server: WebServer) -> None:
    url = f"http://{bracketed(str(server.server_address[0]))}:{server.server_address[1]}/"
    answers: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(url, timeout=10) as answer:
            answers.append(answer.read())

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"ok"] * 60
