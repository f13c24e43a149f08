"""Serves a bundle to boxes: an apt repository, a Python index, and every file by its digest, with byte ranges.

Every address that there is stands in one table, made of the bundle's locks and signed list: nothing else of the
controller can be asked for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import html
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from boxwright import places
from boxwright.errors import BadInputError, BoxwrightError, LockedError
from boxwright.factory.bundle import Bundle, Manifest
from boxwright.factory.lock import Artefact, Lock
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.reporting.run_log import now, operator
from boxwright.web_server import WebServer

PORT = 8873
_SILENCE_S = 60
_TLS_HANDSHAKE = b"\x16"  # the first octet of a client's hello


@dataclass(frozen=True)
class Served:
    """What is behind an address: a file, or a page that was made."""

    size: int
    tag: str
    kind: str = "application/octet-stream"
    file: Path | None = None
    page: bytes = b""


def table(bundle: Bundle, manifest: Manifest) -> dict[str, Served]:
    """Every address of a bundle."""
    found: dict[str, Served] = {}
    for name, lock in bundle.locks.items():
        prefix = f"apt/{name}/dists/"
        for place, listed in manifest.files.items():
            if place.startswith(prefix):
                address = f"/{name}/apt/dists/{place.removeprefix(prefix)}"
                found[address] = Served(listed.size, listed.sha256, file=bundle.folder / place)
        if key := manifest.files.get(f"apt/{name}/{BUNDLE_KEY}"):
            found[f"/{name}/apt/{BUNDLE_KEY}"] = Served(key.size, key.sha256, file=bundle.lists(name) / BUNDLE_KEY)
        for one in lock.artefacts:
            served = Served(one.size, one.sha256, file=bundle.artefact(one.sha256))
            found[f"/{name}/files/{one.sha256}"] = served
            if one.kind == "debian":
                found[f"/{name}/apt/pool/{one.sha256}/{one.file}"] = served
            if one.kind in ("firmware", "source", "wheel"):
                found[f"/{name}/files/{one.sha256}/{one.file}"] = served
        found |= _images(bundle, lock)
        found |= {f"/{name}/simple/{project}/": page for project, page in _pages(lock)}
    return found


def _images(bundle: Bundle, lock: Lock) -> dict[str, Served]:
    """What a registry has of the images of a lock. Parts that several of them share are a lock's only once."""
    parts = lock.of("image")
    images = {one.image.replace(":", "-") for one in parts if one.image}
    found = {"/v2/": Served(2, "registry", "application/json", page=b"{}")} if parts else {}
    for one in parts:
        what, kind = ("manifests", one.media_type) if one.media_type else ("blobs", Served.kind)
        served = Served(one.size, one.sha256, kind, bundle.artefact(one.sha256))
        found |= {f"/v2/{lock.name}/{image}/{what}/sha256:{one.sha256}": served for image in images}
    return found


def _pages(lock: Lock) -> Iterator[tuple[str, Served]]:
    projects: dict[str, list[Artefact]] = {}
    for one in lock.of("wheel"):
        projects.setdefault(canonicalize_name(one.name), []).append(one)
    for one in lock.of("source"):  # of which some are a project's source distribution
        projects.setdefault(one.project, []).append(one)
    for project, wheels in projects.items():
        links = "".join(
            f'<a href="../../files/{one.sha256}/{html.escape(one.file)}#sha256={one.sha256}">'
            f"{html.escape(one.file)}</a>\n"
            for one in wheels
        )
        page = f"<!DOCTYPE html>\n<title>{html.escape(project)}</title>\n{links}".encode()
        yield project, Served(len(page), f"{project}-{len(page)}", "text/html; charset=utf-8", page=page)


def address_towards(host: str) -> str:
    """The address of this machine that a host sees. Sends nothing.

    Raises:
        BadInputError: There is no way to it.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise BadInputError(f"no route to {host}: {error.strerror or error}") from None


@contextlib.contextmanager
def serving(
    addresses: dict[str, Served], listen: str, port: int = PORT, *, doing: str = "bundle.serve"
) -> Iterator[WebServer]:
    """Serve these addresses for as long as the block takes.

    Args:
        addresses: What there is.
        listen: An address of this machine.
        port: A port there; 0: any.
        doing: What it is for, for whoever finds the port taken.

    Raises:
        LockedError: Another run of Boxwright serves there.
        BadInputError: Another program has the port, or the address is not this machine's.
    """
    handler = type("_BundleHandler", (_Handler,), {"addresses": addresses})
    try:
        server = WebServer(listen, port, handler)
    except OSError as error:
        raise _refusal(listen, port, error) from None
    thread = threading.Thread(target=server.serve_forever, name="bundle", daemon=True)
    thread.start()
    try:
        with _signed_for(_note(listen, int(server.server_address[1])), doing):
            yield server
    finally:
        server.shutdown()
        server.server_close()


def _note(listen: str, port: int) -> Path:
    """Where it is written who serves at an address; locked for as long as that lasts."""
    return places.runtime() / f"serving-{listen.replace(':', '_')}-{port}.json"


@contextlib.contextmanager
def _signed_for(note: Path, doing: str) -> Iterator[None]:
    with note.open("a+") as file:
        with contextlib.suppress(BlockingIOError):  # somebody reads what the last one wrote
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(json.dumps({"who": operator(), "since": now(), "doing": doing}))
        file.flush()
        yield


def _holder(note: Path) -> str:
    """Who serves there, in words; empty where no run of Boxwright that is known here does."""
    try:
        with note.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                told = json.loads(file.read())
                return f"{told['who']} has been serving a bundle there since {told['since']}: {told['doing']}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return ""


def _refusal(listen: str, port: int, error: OSError) -> BoxwrightError:
    """Why nothing can be served at an address."""
    what = f"the bundle cannot be served at {listen}, port {port}"
    if error.errno == errno.EADDRINUSE and (holder := _holder(_note(listen, port))):
        return LockedError(
            f"{what}: {holder}",
            hint="Wait for it. For several runs at once serve it once, by ./invoke bundle.serve, and give the site "
            "what that prints, instead of --bundle.",
        )
    if error.errno == errno.EADDRINUSE:
        return BadInputError(f"{what}: another program has that port", hint=f"ss -ltnp 'sport = :{port}' tells which.")
    if error.errno == errno.EADDRNOTAVAIL:
        return BadInputError(f"{what}: that is no address of this machine", hint="`ip -brief address` shows them.")
    return BadInputError(f"{what}: {error.strerror or error}")


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD out of the table."""

    addresses: ClassVar[dict[str, Served]] = {}
    protocol_version = "HTTP/1.1"
    server_version = "Boxwright"
    sys_version = ""
    timeout = _SILENCE_S

    def handle(self) -> None:
        """Answer a connection; one that begins with a TLS handshake is told at once that this is none.

        Docker asks every registry by TLS first, and goes on without where it may.
        """
        try:
            hello = self.connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
            if hello:
                self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        except OSError:  # whoever connected is gone, or silent
            return
        if not hello:
            super().handle()

    def do_GET(self) -> None:
        """Send the whole, or the range that was asked for."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Send what goes before."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what a box takes shows in its own stages."""

    def _answer(self, *, body: bool) -> None:
        served = self.addresses.get(unquote(self.path.partition("?")[0]))
        if served is None:
            self._head(HTTPStatus.NOT_FOUND, 0, {})
            return
        asked = self.headers.get("Range")
        if self.headers.get("If-Range") not in (None, f'"{served.tag}"'):
            asked = None
        part = byte_range(asked, served.size)
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{served.tag}"', "Content-Type": served.kind}
        if part is None:
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, {"Content-Range": f"bytes */{served.size}"})
            return
        start, count = part
        if count == served.size:
            self._head(HTTPStatus.OK, count, headers)
        else:
            headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{served.size}"
            self._head(HTTPStatus.PARTIAL_CONTENT, count, headers)
        if body:
            self._send(served, start, count)

    def _head(self, status: HTTPStatus, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, served: Served, start: int, count: int) -> None:
        try:
            if served.file is None:
                self.wfile.write(served.page[start : start + count])
                return
            with served.file.open("rb") as file:
                self.wfile.flush()
                sent = self.connection.sendfile(file, start, count)
            if sent != count:
                self.close_connection = True
        except OSError:  # whoever asked is gone, or the disk is: the box sees a cut, and asks again
            self.close_connection = True


def byte_range(asked: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of what a `Range` header asks for; None where there is nothing of it.

    What is no single range of bytes means the whole, as HTTP has it.
    """
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (asked or "").strip())
    if match is None or match[0] == "bytes=-":
        return 0, size
    if not match[1]:
        count = min(int(match[2]), size)
        return (size - count, count) if count else None
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if start >= size:
        return None
    return (start, end - start + 1) if end >= start else (0, size)
