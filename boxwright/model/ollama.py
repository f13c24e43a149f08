"""Ollama's releases: the archives whose digests are known, and what a site supplies instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, HttpUrl, Sha256
from boxwright.model.versions import ReleaseName

DEFAULT_RELEASE = "0.33.0"  # a test holds it against the table of its settings
GROUPS_SHARDS = "0.30.0"  # before it, a model was one file: server/create.go, splitGGUFGroupKey
_NAME = "ollama-linux-amd64.tar.zst"


class OllamaArtefact(Frozen):
    """An archive of Ollama that a site supplies: a file of the controller, or an address of its own."""

    version: ReleaseName
    sha256: Sha256
    path: Annotated[str, Field(pattern=r"^[~/][^\s'\"`$\\]*\.(tar\.zst|tgz|tar\.gz)$")] | None = None
    url: Annotated[HttpUrl, Field(pattern=r"\.(tar\.zst|tgz|tar\.gz)$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None  # None: the digest alone decides

    @model_validator(mode="after")
    def _is_somewhere(self) -> OllamaArtefact:
        if (self.path is None) == (self.url is None):
            raise ValueError("an archive of Ollama has a path or a url")
        return self


class OllamaArchive(Frozen):
    """An archive that is to be unpacked on a box, and where it may come from."""

    version: ReleaseName
    kind: Literal["tar.zst", "tgz"]
    sha256: Sha256
    bytes: int | None
    path: str | None  # on the controller
    urls: tuple[HttpUrl, ...]


class _Pin(Frozen):
    """What is known of an archive that Ollama publishes. Its size is in no listing that could be read."""

    version: ReleaseName
    sha256: Sha256


# Read in public files that pin these archives for other package managers (Homebrew taps, Chromebrew) and in a build log
# that had verified one. Of 0.32.6 and 0.32.7 two and three of them agree; of 0.33.0 one of the same authors was found.
_PINNED = (
    _Pin(version="0.32.6", sha256="dec2fa50d24e6868ca3c4c977d69d059399372105f951a9acc320a5a79aadcfc"),
    _Pin(version="0.32.7", sha256="ed1e39fe8fea90bd7f4c723bd949a2cea3153e111220ec0a183ea5b8dc8b2cae"),
    _Pin(version="0.33.0", sha256="72c4b9d91c317742ffd11b92e0a7fbe6353072c6354d910f1a03fd3ce40403d4"),
)


def pinned_releases() -> tuple[str, ...]:
    """The releases whose archive can be had without the site's help, oldest first."""
    return tuple(pin.version for pin in _PINNED)


def archive_of(version: str, supplied: Iterable[OllamaArtefact], mirror: str) -> OllamaArchive | None:
    """The archive of a release: the site's own goes before the published one.

    Args:
        version: Of Ollama, `0.33.0`.
        supplied: What the site supplies.
        mirror: Where the published ones lie, as `MIRROR/vVERSION/NAME`.

    Returns:
        The archive, or None where nobody says what its digest must be.
    """
    own = next((one for one in supplied if one.version == version), None)
    if own:
        place = own.path or own.url or ""
        return OllamaArchive(
            version=version,
            kind="tar.zst" if place.endswith(".tar.zst") else "tgz",
            sha256=own.sha256,
            bytes=own.bytes,
            path=own.path,
            urls=(own.url,) if own.url else (),
        )
    pin = next((one for one in _PINNED if one.version == version), None)
    if pin is None:
        return None
    address = f"{mirror.rstrip('/')}/v{version}/{_NAME}"
    return OllamaArchive(version=version, kind="tar.zst", sha256=pin.sha256, bytes=None, path=None, urls=(address,))
