"""Brings one file from the first of several places that has it: over HTTP, or from a folder of this machine."""

from __future__ import annotations

import email.utils
import http.client
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from files import BLOCK, FetchError, Part, Wanted, amount, put_in_place
from progress import Meter, say

ATTEMPTS_WITHOUT_PROGRESS = 5
OUTAGE_S = 1800  # that places may be out of reach while a build comes: hours of download outlast a line that breaks
SILENCE_S = 60  # a server that says nothing for this long is treated as gone
LONGEST_WAIT_S = 600  # however long a server asks to be left alone
TRANSIENT = (OSError, http.client.HTTPException)  # URLError is an OSError


class RefusedError(Exception):
    """This place will not give the file, however often it is asked."""


class StoppedError(Exception):
    """Another file failed, so this one was given up; what has arrived is kept."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does, and gives each hub its own credentials: a hub's storage gets none."""

    def __init__(self, sign: Callable[[urllib.request.Request], None]) -> None:
        self._sign = sign

    def redirect_request(self, *arguments: Any, **named: Any) -> urllib.request.Request | None:
        """Make the next request."""
        request = super().redirect_request(*arguments, **named)
        if request is not None:
            self._sign(request)
        return request


class Net:
    """The way out: proxy, exceptions from it, and credentials.

    Args:
        proxy: For both schemes, or None to go straight.
        no_proxy: Names, or ends of names, that are reached straight.
        headers: By address of a hub (`https://host[:port]`, or with a path where several stand behind one mirror):
            what is sent to it, and to what lies below it, alone.
        silence_s: A server that says nothing for this long is treated as gone.
    """

    def __init__(
        self,
        proxy: str | None,
        no_proxy: list[str],
        headers: dict[str, dict[str, str]],
        silence_s: float = SILENCE_S,
    ) -> None:
        os.environ["no_proxy"] = ",".join(no_proxy)  # where urllib looks
        self._headers, self._silence_s = headers, silence_s
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Redirects(self._sign))

    def _sign(self, request: urllib.request.Request) -> None:
        hubs = (hub for hub in self._headers if f"{request.full_url}/".startswith(f"{hub.rstrip('/')}/"))
        for name, value in self._headers.get(max(hubs, key=len, default=""), {}).items():
            request.add_unredirected_header(name, value)

    def open(self, url: str, **headers: str) -> Any:
        """Ask for an address."""
        request = urllib.request.Request(  # noqa: S310 - an index is asked as it is named; of files see _open_url
            url, headers={"User-Agent": "boxwright-fetch-model", "Accept-Encoding": "identity"} | headers
        )
        self._sign(request)
        return self._opener.open(request, timeout=self._silence_s)


@dataclass(frozen=True)
class Work:
    """What the transfers of one fetch share."""

    net: Net
    meter: Meter
    stop: threading.Event  # set when all of them are to give up
    attempts: int = ATTEMPTS_WITHOUT_PROGRESS  # of each place
    outage_s: float = OUTAGE_S  # that places may be out of reach, once something of the build is here


def from_places(wanted: Wanted, work: Work) -> None:
    """Fetch a file from this machine or from its addresses, and put it into its place.

    Raises:
        FetchError: None of them gives it.
        StoppedError: It was told to stop.
    """
    part = Part(wanted.path, work.meter)
    receive(part, (*wanted.near, *wanted.urls), wanted.bytes, wanted.sha256, work)
    put_in_place(part.path, wanted.path, wanted.sha256)


def receive(part: Part, places: tuple[str, ...], size: int | None, sha256: str, work: Work) -> None:
    """Fill a part until it is the whole file, and the right one.

    A place that breaks off is asked again, the next one in turn; one that refuses or has something else is asked no
    more. Bytes of several places may come together, as the digest of all of them decides. Where all are out of reach,
    what has begun to come waits for them; a first contact that fails is told soon.

    Args:
        part: What is here already.
        places: Where to ask, the preferred one first.
        size: Bytes of the file; None where only the server knows.
        sha256: Its digest.
        work: The way out, and who counts.

    Raises:
        FetchError: No place gives it.
        StoppedError: It was told to stop.
    """
    left, reasons, failures, progress = list(places), [], 0, time.monotonic()
    if part.done == size:
        if part.sha256 == sha256:
            return
        reasons.append(f"{part.path} is not the expected file: sha256 {part.sha256}; wanted {sha256}. It was removed")
        part.reset()
    if not left:
        reasons.append(f"nothing says where {part.path.name.removesuffix('.part')} comes from")
    while left:
        place, before = left[0], part.done
        try:
            whole = part.done == size or _transfer(part, place, size, work)
        except RefusedError as refusal:
            reasons.append(str(refusal))
            left.remove(place)
            continue
        except TRANSIENT as error:
            if isinstance(error, urllib.error.HTTPError) and not _may_pass(error.code):
                reasons.append(f"{shown(place)} answers {error.code} {error.reason}")
                left.remove(place)
                continue
            failures = 0 if part.done > before else failures + 1
            progress = progress if failures else time.monotonic()
            if failures >= work.attempts * len(left) and not _may_come_back(place, error, progress, work):
                reasons.append(f"{shown(place)} cannot be read: {error}")
                break
            if failures:
                left.append(left.pop(0))  # what does not get on may do so elsewhere
            if failures % len(left) == 0:
                _wait(place, error, failures, work.stop)
            continue
        if whole and part.sha256 == sha256:
            return
        found = f"{part.done} bytes, sha256 {part.sha256}"
        pure = part.origins <= {place}
        part.reset()
        if pure:
            reasons.append(
                f"{shown(place)} is not the expected file: {found}; wanted {size or 'any number of'} bytes, "
                f"sha256 {sha256}. It was removed."
            )
            left.remove(place)
    kept = f" {amount(part.done)} are kept in {part.path}; the next run goes on from there." if part.done else ""
    raise FetchError("; ".join(dict.fromkeys(reasons)) + kept)


def _transfer(part: Part, place: str, size: int | None, work: Work) -> bool:
    """Append what a place has to the part; return whether that is all of it."""
    with _opened(part, place, size, work.net) as (stream, total):
        part.origins.add(place)
        with part.open() as target:
            while block := stream.read(BLOCK):
                if work.stop.is_set():
                    raise StoppedError
                part.append(target, block)
                if size is not None and part.done > size:
                    break
            target.flush()
            os.fsync(target.fileno())
    if total is not None and part.done < total:
        raise ConnectionError(f"the connection ended after {part.done} of {total} bytes")
    return True


class _opened:  # noqa: N801 - used like a function
    """Opens a place behind what the part has; enters with the stream and the size of the whole, where it is told."""

    def __init__(self, part: Part, place: str, size: int | None, net: Net) -> None:
        self.stream: Any
        self.stream, total = _open_file(part, place) if place.startswith("/") else _open_url(part, place, net)
        self.total = total
        if size is not None and total not in (None, size):
            self.stream.close()
            raise RefusedError(f"{shown(place)} has {total} bytes, not the {size} of the catalogue")

    def __enter__(self) -> tuple[IO[bytes], int | None]:
        return self.stream, self.total

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def _open_file(part: Part, place: str) -> tuple[IO[bytes], int]:
    stream = Path(place).open("rb")  # noqa: SIM115 - closed by who asked for it
    stream.seek(part.done)
    return stream, os.fstat(stream.fileno()).st_size


def _open_url(part: Part, place: str, net: Net) -> tuple[Any, int | None]:
    if urllib.parse.urlsplit(place).scheme not in ("http", "https"):  # an index may say anything
        raise RefusedError(f"{shown(place)} is no address of a web server")
    try:
        response = net.open(place, **({"Range": f"bytes={part.done}-"} if part.done else {}))
    except urllib.error.HTTPError as error:
        if error.code == 416 and part.done:  # more bytes are here than there: not this file
            part.reset()
        raise
    length = response.headers["Content-Length"] or ""
    known = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    if response.status == 206:
        told = response.headers["Content-Range"] or ""
        match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", told)
        if match is None:
            response.close()
            raise RefusedError(
                f"{shown(place)} answers with a part of the file, and does not say which: Content-Range {told}"
            )
        if int(match[1]) != part.done:
            response.close()
            raise ConnectionError(f"asked for bytes from {part.done} on, and got them from {match[1]} on")
        return response, int(match[2]) if match[2] != "*" else known and part.done + known
    if part.done:  # the server does not resume: from the start
        part.reset()
    return response, known


def _may_come_back(place: str, error: Exception, since: float, work: Work) -> bool:
    """Whether a place that is out of reach is worth waiting for, which is then told: something of the build is here."""
    if not work.meter.done or not _is_out_of_reach(error) or time.monotonic() - since >= work.outage_s:
        return False
    say(f"{urllib.parse.urlsplit(place).hostname} is out of reach, and is asked again: {error}")
    return True


def _is_out_of_reach(error: Exception) -> bool:
    """Whether it is as with a line that is down: nobody answers there, or somebody on the way in its place."""
    refused = isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError)
    return isinstance(error, urllib.error.URLError | TimeoutError) and not refused


def _may_pass(status: int) -> bool:
    return status in (408, 416, 425, 429) or status >= 500


def _wait(place: str, error: Exception, failures: int, stop: threading.Event) -> None:
    """Leave a server alone for as long as it asks, or for a while that grows."""
    seconds = min(2.0**failures / 4, 10)
    if isinstance(error, urllib.error.HTTPError) and (asked := retry_after(error.headers["Retry-After"])) is not None:
        seconds = min(max(asked, 0.1), LONGEST_WAIT_S)
        say(f"{urllib.parse.urlsplit(place).hostname} asks to wait {seconds:.0f} s ({error.code} {error.reason})")
    if stop.wait(seconds):
        raise StoppedError


def retry_after(told: str | None) -> float | None:
    """Seconds to wait, from a number or a date; None where nothing sensible is told."""
    if not told:
        return None
    if re.fullmatch("[0-9]+", told.strip()):
        return float(told)
    try:
        return email.utils.parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def shown(place: str) -> str:
    """An address without what signs it."""
    return place.partition("?")[0] if "X-Amz" in place or "Signature" in place else place
