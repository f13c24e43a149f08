"""A hub may end an idle connection at the very moment at which the next question goes out on it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from boxwright.model.site import Mirrors
from boxwright.weights.hubs import Hubs


class Handler(BaseHTTPRequestHandler):
    """Answers, says that it goes on, and ends a moment later."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"sha": "abc"} if "/revision/" in self.path else []).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        time.sleep(0.3)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_question_on_a_connection_that_ended_is_asked_again(address: str) -> None:
    with Hubs(Mirrors(huggingface=address)) as hubs:
        listing = hubs.huggingface("owner/name", None, lambda _: True)  # type: ignore[arg-type]
    assert (listing.revision, listing.files) == ("abc", ())
