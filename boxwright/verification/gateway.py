"""A client of the gateway as any machine of the network is one: it trusts one authority, and no proxy."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from boxwright.model.base import bracketed
from boxwright.verification.job import VerifyHost

HTTPS = 443
# RFC 6455, section 1.3: what a server adds to the key to prove that it speaks the protocol.
_WEBSOCKET_PROOF = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BUSY_PAUSES_S = (2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer.

    Attributes:
        status: The HTTP status.
        arrivals: Seconds from the request to each `data:` line.
        text: The words of the answer, put together.
        usage: The token counts that the stream ended with.
    """

    status: int
    arrivals: list[float] = field(default_factory=list)
    text: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


class Gateway:
    """Speaks to one box's gateway at its address, by the name that its certificate must have.

    Args:
        host: The box.
        ca_pem: The authority that alone is trusted.
    """

    def __init__(self, host: VerifyHost, ca_pem: str) -> None:
        self._host = host
        self._ca_pem = ca_pem
        self.name = host.gateway_name
        literal = bracketed(host.address)
        self._https = f"https://{literal}:{HTTPS}"
        self._http = f"http://{literal}"
        self._client = httpx.Client(
            headers={"Host": self.name},
            verify=self.context(),
            trust_env=False,  # a proxy of the controller's would answer in the box's place
            timeout=httpx.Timeout(90, connect=10),
        )

    def context(self) -> ssl.SSLContext:
        """What this client accepts of TLS."""
        context = ssl.create_default_context(cadata=self._ca_pem)
        # A given chain may end below a root that no file of ours holds.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    @property
    def basic(self) -> str:
        """The right `Authorization` of the API's user, by password."""
        return self.basic_of(self._host.secrets.api_password.get_secret_value())

    @property
    def bearer(self) -> str:
        """The right `Authorization` of the API's user, by key."""
        return f"Bearer {self._host.secrets.api_key.get_secret_value()}"

    def basic_of(self, password: str) -> str:
        """An `Authorization` of the API's user with some password."""
        return "Basic " + base64.b64encode(f"{self._host.api_user}:{password}".encode()).decode()

    def request(
        self,
        method: str,
        path: str,
        *,
        authorization: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        pauses_s: Sequence[float] = _BUSY_PAUSES_S,
    ) -> httpx.Response:
        """Ask once, without cookies of the past; where it is too often, wait for these seconds and ask again."""
        self._client.cookies.clear()
        sent = dict(headers or {})
        if authorization:
            sent["Authorization"] = authorization
        for pause in (*pauses_s, None):
            response = self._client.request(
                method, self._https + path, headers=sent, json=body, extensions=self._extensions
            )
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS or pause is None:
                break
            time.sleep(pause)
        return response

    def stream(self, path: str, *, authorization: str, body: dict[str, Any]) -> Stream:
        """Ask for a streamed chat completion and note when each piece of it comes."""
        began = time.monotonic()
        arrivals: list[float] = []
        text = ""
        usage: dict[str, Any] = {}
        with self._client.stream(
            "POST", self._https + path, headers={"Authorization": authorization}, json=body, extensions=self._extensions
        ) as response:
            for line in response.iter_lines():
                if not line.startswith("data: "):
                    continue
                arrivals.append(time.monotonic() - began)
                if line != "data: [DONE]":
                    chunk = json.loads(line.removeprefix("data: "))
                    usage = chunk.get("usage") or usage
                    text += "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
        return Stream(response.status_code, arrivals, text, usage)

    def redirect(self, path: str) -> httpx.Response:
        """Ask on plain HTTP."""
        return httpx.get(
            self._http + path,
            headers={"Host": self.name},
            follow_redirects=False,
            trust_env=False,
            timeout=10,
        )

    @contextmanager
    def tls(self, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        """A bare TLS connection under other rules than this client's own."""
        with (
            socket.create_connection((self._host.address, HTTPS), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=self.name) as wrapped,
        ):
            yield wrapped

    def websocket_status(self, path: str) -> str:
        """Ask for a websocket and return the status line of the answer.

        Raises:
            ValueError: The answer is 101 and lacks the proof that a websocket server gives.
        """
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {self.name}\r\nOrigin: https://{self.name}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        with self.tls(self.context()) as connection:
            connection.sendall(request.encode())
            head = _head(connection)
        status = head.split("\r\n", 1)[0]
        proof = base64.b64encode(hashlib.sha1((key + _WEBSOCKET_PROOF).encode()).digest()).decode()  # noqa: S324
        if " 101 " in status and proof not in head:
            raise ValueError("the answer is 101 without the proof of a websocket server")
        return status

    @property
    def _extensions(self) -> dict[str, str]:
        return {"sni_hostname": self.name}


def _head(connection: ssl.SSLSocket) -> str:
    """The head of an HTTP answer."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < 65536:
        block = connection.recv(4096)
        if not block:
            break
        received += block
    return received.partition(b"\r\n\r\n")[0].decode("latin-1")
