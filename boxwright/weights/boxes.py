"""Weights on boxes: what lies there, and its removal."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from boxwright.errors import BoxwrightError
from boxwright.model.catalogue import ModelCatalogue
from boxwright.transport.ssh import Endpoint, check
from boxwright.weights import remote_models

_TIMEOUT_S = 300  # a build of hundreds of GB is not unlinked at once


@dataclass(frozen=True)
class BuildOnBox:
    """A build that lies on a box, or is on its way there."""

    name: str  # model/build
    bytes: int
    files: dict[str, int]  # finished ones, with their sizes
    partial_bytes: int
    converted: bool  # made on the box out of another build
    used_by: tuple[str, ...]  # processes that have it open

    def state(self, catalogue: ModelCatalogue) -> str:
        """How far it is, in words."""
        if self.converted:
            return "made on the box"
        model_id, _, build_name = self.name.partition("/")
        model = catalogue.find(model_id)
        build = model.build(build_name) if model else None
        if build is None:
            return "not in the catalogue"
        if not build.files:
            return "no digests to hold it against"
        here = sum(1 for file in build.files if self.files.get(file.name) == file.bytes)
        if here == len(build.files):
            return "complete"
        return f"{here} of {len(build.files)} files, {self.partial_bytes / 1e9:.1f} GB on their way"


@dataclass(frozen=True)
class WeightsOnBox:
    """What lies on a box."""

    host: str
    builds: tuple[BuildOnBox, ...]
    free_bytes: int  # of the disk that holds them
    freed_bytes: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # what could not be removed, and why


def look(endpoint: Endpoint, directory: str) -> WeightsOnBox:
    """Ask a box for its weights.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not tell.
    """
    return _order(endpoint, directory, [])


def remove(endpoint: Endpoint, directory: str, names: Sequence[str]) -> WeightsOnBox:
    """Remove builds from a box. One that a process has open, or that is being fetched, stays and is told.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not tell what became of them.
    """
    return _order(endpoint, directory, names)


def _order(endpoint: Endpoint, directory: str, names: Sequence[str]) -> WeightsOnBox:
    script = "exec " + shlex.join(["python3", "-I", "-S", "-c", inspect.getsource(remote_models), directory])
    answer = check(endpoint, script, stdin=json.dumps({"remove": list(names)}), timeout_s=_TIMEOUT_S)
    try:
        told = json.loads(answer)
        builds = tuple(BuildOnBox(**{**one, "used_by": tuple(one["used_by"])}) for one in told["builds"])
        return WeightsOnBox(endpoint.name, builds, told["free_bytes"], told["freed_bytes"], told["refused"])
    except (ValueError, KeyError, TypeError) as error:
        raise BoxwrightError(
            f"what the box told of its models cannot be read: {error}", where=endpoint.name, output=answer
        ) from None


def garbage(there: WeightsOnBox, kept: Sequence[str]) -> tuple[BuildOnBox, ...]:
    """What lies on a box and is not among these builds, nor made out of one of them. A pure function."""
    return tuple(
        build
        for build in there.builds
        if build.name not in kept and not (build.converted and any(build.name.startswith(f"{one}-") for one in kept))
    )
