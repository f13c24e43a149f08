"""Operations that bring the weights of models to the box."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.models import BuildFile, BuildFiles
from deploys.operations.files import PROGRAMS
from deploys.operations.handing_on import Fetch, HaveHanded
from deploys.operations.install import program_of_modules
from deploys.operations.peers import Registry
from deploys.operations.sending import SendPieces, source_of

PROGRAM = f"{PROGRAMS}/fetch-model.d"
_RIGHT = "644 root root"

# The program gives up by itself on a source that falls silent, or is out of reach for half an hour; this bounds one
# that trickles.
_SLOWEST_BYTES_PER_S = 1_000_000
_SLOWEST_START_S = 2700


def fetcher() -> None:
    """Put the program that fetches verified files on the box."""
    program_of_modules("fetch-model", "models/fetch_model")


@operation()
def fetched_build(
    build: dict[str, Any],
    request: str,
    folders: tuple[str, ...] = (),
    headers: dict[str, dict[str, str]] | None = None,
    hand_on: dict[str, Any] | None = None,
) -> Iterator[PyinfraCommand]:
    """Have every file of a build, with its size and digest, readable by every engine's user.

    Args:
        build: `directory` and `files`, each with `name`, `path`, `bytes` and `sha256`.
        request: The request file that names their sources.
        folders: Folders of the controller that may have some of them.
        headers: What hubs are told besides, by their address: credentials, which no file on the box keeps.
        hand_on: What machines of a batch hand on to each other, and how; None: each gets its files by itself.
    """
    directory, files = build["directory"], build["files"]
    there = host.get_fact(BuildFiles, directory=directory, names=tuple(file["name"] for file in files))
    missing = [file for file in files if not _is_right(file, there)]
    command = ("python3 -I -B", PROGRAM, QuoteString(request))
    fetch = Fetch(directory, command, json.dumps(headers or {}), folders, _slowest_s)
    handed = _handed(fetch, files, missing, hand_on)
    if hand_on and handed:
        yield HaveHanded(fetch, handed, hand_on)
    yield from _sent(directory, [file for file in missing if file not in handed], there, folders)
    if missing:
        yield StringCommand(
            *(*command, QuoteString(directory)),
            _timeout=_slowest_s(sum(file["bytes"] for file in missing)),
            _stdin=fetch.headers,
        )
        return
    odd = [f"{directory}/{file['name']}" for file in files if there[file["name"]].access != _RIGHT]
    if odd:
        quoted = [QuoteString(path) for path in odd]
        yield StringCommand("chown root:root", *quoted, "&& chmod 644", *quoted)
    else:
        host.noop(f"{directory} was verified")


def _slowest_s(size: int) -> int:
    return _SLOWEST_START_S + size // _SLOWEST_BYTES_PER_S


def _handed(
    fetch: Fetch, files: list[dict[str, Any]], missing: list[dict[str, Any]], hand_on: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """The missing files that other machines may hand on; of the others, that this one has them is noted."""
    if not hand_on:
        return []
    registry, known = Registry(Path(hand_on["folder"]), host.name), hand_on["files"]
    for file in files:
        if file not in missing and fetch.path(file) in known:
            registry.add(fetch.path(file))
    return [file for file in missing if fetch.path(file) in known]


def _is_right(file: dict[str, Any], there: dict[str, BuildFile]) -> bool:
    found = there.get(file["name"])
    return found is not None and (found.size, found.sha256) == (file["bytes"], file["sha256"])


def _sent(
    directory: str, missing: list[dict[str, Any]], there: dict[str, BuildFile], folders: tuple[str, ...]
) -> Iterator[PyinfraCommand]:
    """Send what the controller has. The fetcher, which comes after, takes a whole part and verifies it."""
    for file in missing:
        source = source_of(directory, file, folders)
        if source is None:
            continue
        part = f"{directory}/{file['name']}.part"
        yield StringCommand("mkdir -p -m 755", QuoteString(part.rpartition("/")[0]))
        have = there.get(f"{file['name']}.part")
        yield SendPieces(source, part, have.size if have else 0)
