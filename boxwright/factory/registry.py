"""Container images by digest, as registries have them (OCI distribution, version 2 of Docker's API)."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.lock import Artefact
from boxwright.model.images import HUB, split
from boxwright.model.site import Site

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPTED = ", ".join((*_INDEXES, *_MANIFESTS, "*/*"))
_HUBS_OWN = "registry-1.docker.io"  # where Docker Hub answers
_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+)(:[0-9]+)?")  # without TLS, as Docker has it
_TIMEOUT_S = 60.0
_SUPPLY = "Put a copy into a registry that this machine reaches, and name that under registry_rewrites of the site."


class Registries:
    """The registries of a site, asked as anybody may ask them.

    Args:
        site: Says where images of a registry are instead.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
        self._client = httpx.Client(verify=ssl.create_default_context(), timeout=_TIMEOUT_S, follow_redirects=True)

    def __enter__(self) -> Registries:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def artefacts(self, image: str, used_by: str) -> Iterator[Artefact]:
        """Everything that an image is made of on amd64: its list of platforms, its manifest, settings and layers.

        Args:
            image: `NAME@sha256:DIGEST`, as its vendor names it.
            used_by: What the artefacts are for.

        Raises:
            BadInputError: It has no name, or is an image for other machines.
            BoxwrightError: Its registry does not have it, or not for everybody.
        """
        if "@" not in image:
            raise BadInputError(
                f"image {image} has no name, so no registry can be asked for it",
                hint=f"Name it as NAME@sha256:DIGEST where the profile or the site names its id. {_SUPPLY}",
            )
        place, digest = named(image)
        first, manifest = self._manifest(place, digest)
        parts = [("manifest", first)]
        if _media_type(first) in _INDEXES:
            second, manifest = self._manifest(place, _for_amd64(image, manifest))
            parts = [("platforms", first), ("manifest", second)]
        if "layers" not in manifest:
            raise BadInputError(f"image {image} is described in a way that Boxwright does not read")
        yield from (_part(place, digest, what, answer, used_by) for what, answer in parts)
        yield _described(place, digest, "settings", manifest["config"], used_by)
        for number, layer in enumerate(manifest["layers"], 1):
            yield _described(place, digest, f"layer-{number:03}", layer, used_by)

    def address(self, one: Artefact) -> str:
        """Where a part of an image is."""
        assert one.image  # noqa: S101  every such part of a lock has one
        url, path = self._place(one.image)
        return f"{url}/v2/{path}/{'manifests' if one.media_type else 'blobs'}/sha256:{one.sha256}"

    def headers(self, artefacts: Iterable[Artefact]) -> dict[str, dict[str, str]]:
        """What registries are to be told by whoever fetches these parts, by origin.

        Raises:
            BoxwrightError: One does not answer.
        """
        paths: dict[str, set[str]] = defaultdict(set)
        for image in {one.image for one in artefacts if one.image}:
            url, path = self._place(image)
            paths[url].add(path)
        told = {}
        for url, names in sorted(paths.items()):
            answer = self._ask(f"{url}/v2/", {})
            token = self._token(answer, sorted(names)) if answer.status_code == httpx.codes.UNAUTHORIZED else ""
            told[url] = _headers(token)
        return told

    def _place(self, image: str) -> tuple[str, str]:
        """The origin that a site asks for an image, and the image's path there."""
        registry, path, _ = split(self._site.image(image))
        host = _HUBS_OWN if registry == HUB else registry
        return f"{'http' if _LOOPBACK.fullmatch(host) else 'https'}://{host}", path

    def _manifest(self, place: str, digest: str) -> tuple[httpx.Response, dict[str, Any]]:
        url, path = self._place(place)
        address = f"{url}/v2/{path}/manifests/{digest}"
        answer = self._ask(address, _headers())
        if answer.status_code == httpx.codes.UNAUTHORIZED and (token := self._token(answer, [path])):
            answer = self._ask(address, _headers(token))
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise BoxwrightError(f"{place} is not given to everybody", where=url, hint=_SUPPLY)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise BoxwrightError(f"withdrawn: image {place}@{digest}", where=url, hint="Is the digest right?")
        if answer.is_error:
            raise BoxwrightError(f"{url} answers {answer.status_code} to the question for {place}")
        if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
            raise BoxwrightError(f"what came as {place}@{digest} is something else", where=url)
        try:
            return answer, answer.json()
        except ValueError:
            raise BoxwrightError(f"what came as {place}@{digest} is no manifest", where=url) from None

    def _ask(self, address: str, headers: Mapping[str, str]) -> httpx.Response:
        try:
            return self._client.get(address, headers=dict(headers))
        except httpx.HTTPError as error:
            raise BoxwrightError(f"the registry does not answer: {error}", where=address, hint=_SUPPLY) from None

    def _token(self, answer: httpx.Response, paths: list[str]) -> str:
        """A token that anybody gets, for as long as the registry lets it last."""
        told = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers.get("www-authenticate", "")))
        if "realm" not in told:
            return ""
        scopes = [("scope", f"repository:{path}:pull") for path in paths]
        service = [("service", told["service"])] if "service" in told else []
        url = str(httpx.URL(told["realm"]).copy_merge_params([*service, *scopes]))
        given = self._ask(url, {})
        if given.is_error:
            raise BoxwrightError(f"{', '.join(paths)}: not given to everybody", where=told["realm"], hint=_SUPPLY)
        try:
            found = given.json()
            return str(found.get("token") or found.get("access_token") or "")
        except (ValueError, AttributeError):
            raise BoxwrightError("it gives no token, but something else", where=told["realm"], hint=_SUPPLY) from None


def named(image: str) -> tuple[str, str]:
    """The whole name of an image with its registry, and its digest."""
    registry, path, suffix = split(image)
    return f"{registry}/{path}", suffix.rpartition("@")[2]


def _for_amd64(image: str, index: dict[str, Any]) -> str:
    for one in index.get("manifests", ()):
        platform = one.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            return str(one["digest"])
    raise BadInputError(f"image {image} has nothing for amd64")


def _headers(token: str = "") -> dict[str, str]:
    return {"Accept": ACCEPTED} | ({"Authorization": f"Bearer {token}"} if token else {})


def _media_type(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip()


def _part(place: str, digest: str, what: str, answer: httpx.Response, used_by: str) -> Artefact:
    return Artefact(
        kind="image",
        name=f"{place}/{what}",
        version=digest,
        size=len(answer.content),
        sha256=hashlib.sha256(answer.content).hexdigest(),
        file=f"{what}.json",
        used_by=(used_by,),
        image=place,
        media_type=_media_type(answer),
    )


def _described(place: str, digest: str, what: str, descriptor: dict[str, Any], used_by: str) -> Artefact:
    return Artefact(
        kind="image",
        name=f"{place}/{what}",
        version=digest,
        size=descriptor["size"],
        sha256=str(descriptor["digest"]).removeprefix("sha256:"),
        file=what,
        used_by=(used_by,),
        image=place,
    )
