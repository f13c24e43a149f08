"""Names of container images, and the registries that a site pulls them from instead of their own. Pure.

Docker's `registry-mirrors` answer for Docker Hub alone, and its daemon pulls by itself: nobody asks containerd's
`hosts.toml`, as a test on twins shows of 20.10 and 26.1. So the name is rewritten, before it is given to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

HUB = "docker.io"
_HUB_HOSTS = frozenset({"index.docker.io", "registry-1.docker.io", "hub.docker.com"})

_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
_SUFFIX = re.compile(r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?")
_PINNED = re.compile(r"(?:[a-z0-9][a-z0-9._:/-]*@)?sha256:[0-9a-f]{64}")


def _registry(text: str) -> str:
    if text in _HUB_HOSTS:
        raise ValueError(f"in names of images Docker Hub is called {HUB}")
    if not (_HOST.fullmatch(text) and _is_registry(text)):
        raise ValueError("not a registry as names of images have it, such as ghcr.io or registry.example:5000")
    return text


def _place(text: str) -> str:
    host, _, path = text.partition("/")
    if not (_HOST.fullmatch(host) and _is_registry(host)) or (path and not _PATH.fullmatch(path)):
        raise ValueError("not a place of images, such as mirror.example:5000/ghcr, without https:// and without a tag")
    return text


def _pinned(text: str) -> str:
    if not _PINNED.fullmatch(text):
        raise ValueError("not an image by digest: NAME@sha256:DIGEST of 64 hex digits, or the id of one that is loaded")
    return text


# A name with a digest, which is pulled; or the id of an image that somebody has loaded on the box.
PinnedImage = Annotated[str, AfterValidator(_pinned)]
Registry = Annotated[str, AfterValidator(_registry)]
ImagePlace = Annotated[str, AfterValidator(_place)]  # a registry, and a path in it where it has several others' images


def rewritten(image: str, places: Mapping[str, str]) -> str:
    """The name under which a site pulls an image; tag and digest stay, so that what comes is the same.

    Args:
        image: Its name, `ghcr.io/org/name:tag`, `name@sha256:…`. Without a registry it is Docker Hub's.
        places: By registry, where its images are.

    Raises:
        ValueError: It is not the name of an image.
    """
    registry, path, suffix = split(image)
    place = places.get(registry)
    return image if place is None else f"{place}/{path}{suffix}"


def split(image: str) -> tuple[str, str, str]:
    """Registry, path, and tag or digest with its sign. The path is the whole one: `library/debian`.

    Raises:
        ValueError: It is not the name of an image.
    """
    host, slash, rest = image.partition("/")
    registry, named = (host, rest) if slash and _is_registry(host) else (HUB, image)
    path = _PATH.match(named)
    if not _HOST.fullmatch(registry) or path is None or not _SUFFIX.fullmatch(named, path.end()):
        raise ValueError(f"'{image}' is not the name of an image")
    registry = HUB if registry in _HUB_HOSTS else registry
    whole = f"library/{path[0]}" if registry == HUB and "/" not in path[0] else path[0]
    return registry, whole, named[path.end() :]


def _is_registry(host: str) -> bool:
    """Whether Docker takes the first part of a name for a registry, and not for somebody's name at Docker Hub."""
    return "." in host or ":" in host or host == "localhost"
