"""What model hubs tell of a repository: its files, their sizes and digests. Nothing large is downloaded."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

import httpx

from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import HubName
from boxwright.model.site import Mirrors

_SMALL = 64 << 20  # files up to this size may be fetched for a digest that the hub does not tell
_TIMEOUT_S = 30.0
_MOST_PAGES = 1000
TITLES: dict[HubName, str] = {"huggingface": "Hugging Face", "modelscope": "ModelScope", "ollama": "Ollama"}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    revision: str | None  # the commit; None where the hub does not tell one
    files: tuple[RemoteFile, ...]


class Hubs:
    """Asks the hubs of a site.

    Args:
        mirrors: Where they are.
        proxy: How to get out; None: as the environment says.
        tokens: By hub, of those that want one.
    """

    def __init__(self, mirrors: Mirrors, proxy: str | None = None, tokens: Mapping[HubName, str] | None = None) -> None:
        self._mirrors = mirrors
        self._tokens = tokens or {}
        # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
        context = ssl.create_default_context()
        self._client = httpx.Client(verify=context, proxy=proxy, timeout=_TIMEOUT_S, follow_redirects=True)

    def __enter__(self) -> Hubs:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def huggingface(self, repository: str, revision: str | None, wanted: PathFilter) -> Listing:
        """List a repository of Hugging Face.

        The digest of a large file is its LFS id. Of a small one the hub tells git's own digest, so it is fetched and
        held against that.

        Args:
            repository: `owner/name`.
            revision: A branch, tag or commit; None: the newest of the main branch.
            wanted: Which paths to list.

        Raises:
            BoxwrightError: The hub refuses, does not answer, or tells nonsense.
        """
        base = self._mirrors.huggingface.rstrip("/")
        told = self._json(
            "huggingface", f"{base}/api/models/{repository}/revision/{quote(revision or 'main', safe='')}"
        )
        commit = str(told["sha"])
        entries = self._pages(f"{base}/api/models/{repository}/tree/{commit}?recursive=true")
        chosen = [one for one in entries if one["type"] == "file" and wanted(one["path"])]
        return Listing(commit, tuple(self._huggingface_file(base, repository, commit, one) for one in chosen))

    def _huggingface_file(self, base: str, repository: str, commit: str, entry: Mapping[str, Any]) -> RemoteFile:
        path, size = str(entry["path"]), int(entry["size"])
        if lfs := entry.get("lfs"):
            return RemoteFile(path, int(lfs["size"]), str(lfs["oid"]))
        address = f"{base}/{repository}/resolve/{commit}/{quote(path)}"
        content = self._small("huggingface", address, size)
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        if blob != entry["oid"]:
            raise BoxwrightError("the file is not the one that the hub lists: git's digests differ", where=address)
        return RemoteFile(path, len(content), hashlib.sha256(content).hexdigest())

    def _pages(self, address: str) -> Iterator[Mapping[str, Any]]:
        """Follow a listing from page to page."""
        for _ in range(_MOST_PAGES):
            answer = self._get("huggingface", address)
            yield from answer.json()
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            address = following
        raise BoxwrightError(f"the listing has more than {_MOST_PAGES} pages", where=address)

    def modelscope(self, repository: str, revision: str | None, wanted: PathFilter) -> Listing:
        """List a repository of ModelScope, which tells every file's digest.

        Args:
            repository: `owner/name`.
            revision: A branch or tag; None: `master`.
            wanted: Which paths to list.

        Raises:
            BoxwrightError: As for `huggingface`.
        """
        base = self._mirrors.modelscope.rstrip("/")
        query = f"Revision={quote(revision or 'master', safe='')}&Recursive=True"
        told = self._json("modelscope", f"{base}/api/v1/models/{repository}/repo/files?{query}")
        entries = [one for one in told["Data"]["Files"] if one["Type"] != "tree" and wanted(one["Path"])]
        files = (RemoteFile(str(one["Path"]), int(one["Size"]), str(one["Sha256"])) for one in entries)
        return Listing(revision, tuple(files))

    def ollama(self, tag: str) -> Listing:
        """List the weights of a model in Ollama's registry: one file, which has no name there.

        Args:
            tag: `name:tag`, or `owner/name:tag`.

        Raises:
            BoxwrightError: As for `huggingface`.
        """
        name, _, version = tag.partition(":")
        place = name if "/" in name else f"library/{name}"
        address = f"{self._mirrors.ollama.rstrip('/')}/v2/{place}/manifests/{version}"
        layers = self._json("ollama", address)["layers"]
        weights = [layer for layer in layers if layer["mediaType"] == "application/vnd.ollama.image.model"]
        if len(weights) != 1:
            raise BoxwrightError(f"{tag} has {len(weights)} files of weights; one can be pinned", where=address)
        digest = str(weights[0]["digest"]).removeprefix("sha256:")
        file = f"{name.rpartition('/')[2]}-{version}.gguf"
        return Listing(None, (RemoteFile(file, int(weights[0]["size"]), digest),))

    def _json(self, hub: HubName, address: str) -> Any:
        return self._get(hub, address).json()

    def _small(self, hub: HubName, address: str, size: int) -> bytes:
        if size > _SMALL:
            raise BoxwrightError(
                f"the hub tells no SHA-256 of this file of {size} bytes, and it is too large to fetch for it",
                where=address,
            )
        return self._get(hub, address).content

    def _get(self, hub: HubName, address: str) -> httpx.Response:
        token, headers = self._tokens.get(hub), {}
        if token:  # httpx sends neither on to another origin
            headers = (
                {"Cookie": f"m_session_id={token}"} if hub == "modelscope" else {"Authorization": f"Bearer {token}"}
            )
        try:
            try:
                answer = self._client.get(address, headers=headers)
            except httpx.RemoteProtocolError:  # an idle connection that the hub had just ended
                answer = self._client.get(address, headers=headers)
        except httpx.HTTPError as error:
            raise BoxwrightError(
                f"{TITLES[hub]} does not answer: {error or type(error).__name__}",
                where=address,
                hint=f"Set mirrors.{hub} of the site to one that can be reached from here, or its proxy.",
            ) from None
        if answer.is_error:
            raise BoxwrightError(
                f"{TITLES[hub]} answers {answer.status_code} {answer.reason_phrase}",
                where=address,
                hint=_hint(hub, answer.status_code),
            )
        return answer


class PathFilter:
    """Tells by patterns which paths of a repository are wanted; `*` crosses folders, as for the hubs' own clients."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns

    def __call__(self, path: str) -> bool:
        """Whether a path fits one of the patterns."""
        return any(fnmatchcase(path, pattern) for pattern in self._patterns)


def _hint(hub: HubName, status: int) -> str:
    if status in (401, 403):
        return f"It gives this model to those that it knows: accept its licence there, and set secrets.{hub}_token."
    if status == 404:
        return "Look whether repository and revision are spelt as they are there."
    return "Try again later, or ask another hub by --hub."
