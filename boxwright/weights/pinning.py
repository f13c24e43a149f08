"""Pins a build: asks a hub for its files, and writes down their sizes and digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.model.catalogue import Build, HubName, HubRepository, Model, ModelFile, Pin
from boxwright.weights.hubs import TITLES, Hubs, Listing, PathFilter, RemoteFile

_ENDINGS = {"gguf": (".gguf",), "safetensors": (".safetensors",)}


def hub_of(build: Build, hubs: Sequence[HubName], asked: HubName | None) -> HubName:
    """The hub to ask: the one that was named, or the first of the site's that has the build.

    Raises:
        BadInputError: None has it, as far as the catalogue knows.
    """
    having = [hub for hub in hubs if getattr(build, hub)]
    if asked is not None:
        if not getattr(build, asked):
            there = ", ".join(TITLES[hub] for hub in having) or "none"
            raise BadInputError(f"the catalogue names no {TITLES[asked]} for build {build.name}; it names: {there}")
        return asked
    if not having:
        raise BadInputError(f"the catalogue names no hub for build {build.name}", hint="It comes from elsewhere.")
    return having[0]


def pin(model: Model, build: Build, hub: HubName, revision: str | None, hubs: Hubs) -> Pin:
    """Ask a hub for the files of a build.

    Args:
        model: The model.
        build: One of its builds, which names a repository of the hub.
        hub: The hub.
        revision: Of the repository; None: the build's, or the newest.
        hubs: How to ask.

    Raises:
        BoxwrightError: The hub does not tell, or has no weights of the build's format under its patterns.
    """
    if hub == "ollama":
        assert build.ollama is not None  # noqa: S101  seen to by hub_of
        (weights,) = hubs.ollama(build.ollama).files
        name = f"{model.id}-{build.name}.gguf"
        file = ModelFile(name=name, bytes=weights.bytes, sha256=weights.sha256)
        return Pin(model=model.id, build=build.name, ollama=build.ollama, files=(file,))
    source: HubRepository = getattr(build, hub)
    listing: Listing = getattr(hubs, hub)(source.repository, revision or source.revision, PathFilter(source.patterns))
    pinned = source.model_copy(update={"revision": listing.revision})
    return Pin.model_validate(
        {"model": model.id, "build": build.name, hub: pinned, "files": _files(build, source, listing.files)}
    )


def _files(build: Build, source: HubRepository, found: Sequence[RemoteFile]) -> tuple[ModelFile, ...]:
    """The files as they are to lie on a box: weights first, so that the first shard is the first file."""
    endings = _ENDINGS[build.format]
    if not any(file.path.endswith(endings) for file in found):
        seen = ", ".join(file.path for file in found[:5]) or "nothing"
        raise BoxwrightError(
            f"no file of {source.repository} under {', '.join(source.patterns)} holds weights ({', '.join(endings)})",
            hint=f"There is: {seen}.",
        )
    top = _common_folder([file.path for file in found])
    ordered = sorted(found, key=lambda file: (not file.path.endswith(endings), file.path))
    return tuple(
        ModelFile(
            name=str(PurePosixPath(file.path).relative_to(top)),
            path=file.path if top != "." else None,
            bytes=file.bytes,
            sha256=file.sha256,
        )
        for file in ordered
    )


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths lie in, which a build's own folder stands for."""
    parents = {str(PurePosixPath(path).parent) for path in paths}
    return parents.pop() if len(parents) == 1 else "."


def as_yaml(pins: Sequence[Pin]) -> str:
    """Pins as a file of a catalogue. Every text is quoted: a digest of digits alone would be read as a number."""
    lines = ["pins:"]
    for one in pins:
        lines += [f"  - model: {one.model}", f"    build: {one.build}"]
        for hub in ("huggingface", "modelscope"):
            if source := getattr(one, hub):
                lines.append(f"    {hub}:")
                lines.append(f"      repository: {source.repository}")
                lines += [f"      revision: {json.dumps(source.revision)}"] if source.revision else []
                lines.append(f"      patterns: {json.dumps(source.patterns)}")
        lines += [f"    ollama: {one.ollama}"] if one.ollama else []
        lines.append("    files:")
        for file in one.files:
            lines.append(f"      - name: {json.dumps(file.name)}")
            lines += [f"        path: {json.dumps(file.path)}"] if file.path else []
            lines += [f"        bytes: {file.bytes}", f'        sha256: "{file.sha256}"']
    return "\n".join(lines) + "\n"
