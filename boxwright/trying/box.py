"""What a box has for a trial: memory, cards, and what there is of it already."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from boxwright.errors import BoxwrightError
from boxwright.transport.ssh import Endpoint, check
from boxwright.trying import remote_box


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as its driver tells of it."""

    number: int
    name: str
    bytes: int
    used_bytes: int
    users: tuple[str, ...]  # processes that compute on it


@dataclass(frozen=True)
class Box:
    """What a box has now."""

    available_bytes: int  # of main memory, without anybody being pushed out
    processors: int
    free_bytes: int  # of the disk that programs are installed on
    cards: tuple[Card, ...] | None  # None: no driver answers
    there: tuple[str, ...]  # paths that were asked for and are there
    tried_now: bool  # whether a trial is under way
    gateway: bool  # whether it lets a page in


def look(endpoint: Endpoint, paths: Sequence[str]) -> Box:
    """Ask a box what it has.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not tell.
    """
    script = "exec " + shlex.join(["python3", "-I", "-S", "-c", inspect.getsource(remote_box), *paths])
    answer = check(endpoint, script)
    try:
        return TypeAdapter(Box).validate_json(answer)
    except ValidationError as error:
        raise BoxwrightError(
            f"what the box told of itself cannot be read: {error}", where=endpoint.name, output=answer
        ) from None
