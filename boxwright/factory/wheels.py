"""Which wheels a pinned list means on a box, and where a package index has them."""

from __future__ import annotations

import hashlib
import html.parser
import re
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import httpx
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from boxwright.errors import BoxwrightError
from boxwright.factory.lock import Artefact
from boxwright.model.site import Distribution, Mirrors

_GLIBC: dict[Distribution, int] = {"debian-12": 36, "debian-13": 41}  # 2.N, of the box's own, which wheels are made for
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_AT_ONCE = 8
_TIMEOUT_S = 60.0
_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
# The box's Python for environments: Debian 12's 3.11 on every box.
_PYTHON = (3, 11)


@dataclass(frozen=True)
class Pinned:
    """A line of a pip list that holds on the box."""

    name: str
    version: str
    digests: frozenset[str]


@dataclass(frozen=True)
class Offer:
    """A wheel that an index, a page or a folder has."""

    file: str
    url: str
    sha256: str | None
    size: int | None


def pinned(requirements: str, python: str) -> list[Pinned]:
    """The lines of a pip list whose markers hold on Linux, x86-64, with this Python (`3.11.2`).

    Raises:
        BoxwrightError: A line pins nothing.
    """
    text = re.sub(r"(?m)(^|\s)#.*$", "", requirements.replace("\\\n", " "))
    marks = {
        "python_version": "3.11",
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "implementation_version": python,
        "extra": "",
    }
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.partition("--hash=")[0].strip()
        try:
            wanted = Requirement(words)
        except InvalidRequirement as error:
            raise BoxwrightError(f"'{words}' is no line of a pinned list: {error}") from None
        versions = [one.version for one in wanted.specifier if one.operator in ("==", "===")]
        digests = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        if len(versions) != 1 or not digests:
            raise BoxwrightError(f"'{words}' is not pinned to one version and its digests")
        if wanted.marker is None or wanted.marker.evaluate(marks):
            found.append(Pinned(canonicalize_name(wanted.name), versions[0], digests))
    return found


def tags_of(distribution: Distribution) -> list[Tag]:
    """The tags of wheels that run there, the preferred one first."""
    platforms = []
    for minor in range(_GLIBC[distribution], 4, -1):
        platforms.append(f"manylinux_2_{minor}_x86_64")
        if minor in _LEGACY:
            platforms.append(f"{_LEGACY[minor]}_x86_64")
    platforms.append("linux_x86_64")
    own = cpython_tags(_PYTHON, abis=["cp311"], platforms=platforms)
    return [*own, *compatible_tags(_PYTHON, "cp311", platforms)]


def best(offers: Sequence[Offer], wanted: Pinned, tags: Sequence[Tag]) -> Offer | None:
    """The wheel that pip would take; None where none of the pinned ones runs on the box."""
    ranks = {tag: rank for rank, tag in enumerate(tags)}
    fitting = [
        (rank, offer.file, offer)
        for offer in offers
        if offer.sha256 in wanted.digests and (rank := _rank(offer.file, ranks)) is not None
    ]
    return min(fitting)[2] if fitting else None


def _rank(file: str, ranks: dict[Tag, int]) -> int | None:
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


class Index:
    """The package index of a site, and the pages and folders of wheels besides it.

    Args:
        mirrors: Resolved: no field empty.
    """

    def __init__(self, mirrors: Mirrors) -> None:
        assert mirrors.python_index  # noqa: S101  resolved by the caller
        self._url = mirrors.python_index.rstrip("/")
        self._besides = mirrors.wheels or ()
        # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
        self._client = httpx.Client(verify=ssl.create_default_context(), timeout=_TIMEOUT_S, follow_redirects=True)
        self._further: list[Offer] | None = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def offers(self, name: str) -> list[Offer]:
        """What there is of a package; nothing where nobody knows it.

        Raises:
            BoxwrightError: The index does not answer.
        """
        return [*self._page(f"{self._url}/{name}/"), *self._beside()]

    def artefacts(self, lines: Sequence[Pinned], distribution: Distribution, used_by: str) -> list[Artefact]:
        """The wheels that a list means on a box.

        Raises:
            BoxwrightError: The index has one no more, or none of it that runs there.
        """
        tags = tags_of(distribution)
        self._beside()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda line: self._artefact(line, tags, used_by), lines))
        missing = [line for line, one in zip(lines, found, strict=True) if one is None]
        if missing:
            raise BoxwrightError(
                f"not to be had as wheels for {distribution}: "
                + ", ".join(f"{line.name} {line.version}" for line in missing),
                where="the site's Python index" + (" and its mirrors.wheels" if self._besides else ""),
                hint="Was a release withdrawn? Or does mirrors.wheels of the site lack a page with this build?",
            )
        return [one for one in found if one is not None]

    def download(self, project: str, sha256: str, path: Path) -> Path:
        """Fetch one file of a project, such as a source distribution.

        Raises:
            BoxwrightError: The index has it no more, or gives something else.
        """
        offer = next((one for one in self.offers(project) if one.sha256 == sha256), None)
        if offer is None:
            raise BoxwrightError(
                f"withdrawn: {path.name}, sha256 {sha256}",
                where="the site's Python index",
                hint="Is there a mirror that still has it? Name it as mirrors.python_index of the site.",
            )
        try:
            with self._client.stream("GET", offer.url) as answer, path.open("wb") as file:
                answer.raise_for_status()
                for block in answer.iter_bytes():
                    file.write(block)
        except httpx.HTTPError as error:
            raise BoxwrightError(f"{path.name} cannot be fetched: {error}", where="the site's Python index") from None
        return path

    def _artefact(self, line: Pinned, tags: Sequence[Tag], used_by: str) -> Artefact | None:
        offer = best(self.offers(line.name), line, tags)
        if offer is None:
            return None
        offer = offer if offer.size else replace(offer, size=self._size(offer))
        return Artefact(
            kind="wheel",
            name=line.name,
            version=line.version,
            size=offer.size,
            sha256=offer.sha256,
            file=offer.file,
            used_by=(used_by,),
        )

    def _beside(self) -> list[Offer]:
        if self._further is None:
            self._further = [offer for place in self._besides for offer in self._place(place)]
        return self._further

    def _place(self, place: str) -> Iterator[Offer]:
        if place.startswith("http"):
            yield from self._page(place)
            return
        for path in sorted(Path(place).expanduser().glob("*.whl")):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield Offer(path.name, str(path), digest, path.stat().st_size)

    def _page(self, page: str) -> list[Offer]:
        try:
            answer = self._client.get(page, headers={"Accept": _SIMPLE})
            if answer.status_code == httpx.codes.NOT_FOUND:
                return []
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise BoxwrightError(f"the Python index does not answer: {error}") from None
        if "json" in answer.headers.get("content-type", ""):
            try:
                return [_offered(str(answer.url), one) for one in answer.json()["files"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BoxwrightError(f"the Python index answers with no list of files: {error!r}", where=page) from None
        return list(_anchors(str(answer.url), answer.text))

    def _size(self, offer: Offer) -> int:
        try:
            answer = self._client.head(offer.url)
            answer.raise_for_status()
            return int(answer.headers["content-length"])
        except (httpx.HTTPError, KeyError, ValueError) as error:
            raise BoxwrightError(f"the Python index does not tell the size of {offer.file}: {error}") from None


def _offered(page: str, one: dict[str, Any]) -> Offer:
    """A file of an index, as its JSON tells it."""
    return Offer(one["filename"], urljoin(page, one["url"]), one.get("hashes", {}).get("sha256"), one.get("size"))


class _Anchors(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _anchors(page: str, text: str) -> Iterator[Offer]:
    anchors = _Anchors()
    anchors.feed(text)
    for link in anchors.links:
        url, _, fragment = urljoin(page, link).partition("#")
        digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        yield Offer(unquote(url.rpartition("/")[2]), url, digest[1] if digest else None, None)
