"""The order of releases, as their makers number them: 0.8.5 < 0.8.5.post1 < 0.9.2 < 0.10.2, and b9999 < b11669."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import Field

ReleaseName = Annotated[str, Field(pattern=r"^[a-z]?[0-9]+(\.[0-9]+)*(\.?(rc|post)[0-9]+)?$")]

_BEFORE, _ITSELF, _AFTER = -1, 0, 1
_SUFFIXES = {"rc": _BEFORE, "post": _AFTER}


@lru_cache(maxsize=1024)
def release_key(version: str) -> tuple[tuple[int, ...], int, int]:
    """What a release is sorted by.

    Args:
        version: Numbers between points; a letter before them and `rc` or `post` with a number after them may stand.

    Raises:
        ValueError: The text is no such version.
    """
    parts = re.fullmatch(r"[a-z]?([0-9]+(?:\.[0-9]+)*)(?:\.?(rc|post)([0-9]+))?", version)
    if parts is None:
        raise ValueError(f"'{version}' is no version")
    numbers = [int(number) for number in parts[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:  # 0.33 and 0.33.0 are one release
        numbers.pop()
    return tuple(numbers), _SUFFIXES.get(parts[2], _ITSELF), int(parts[3] or 0)


def in_span(version: str, since: str | None, until: str | None) -> bool:
    """Whether a release lies between two, which belong to the span themselves; None is an open end."""
    key = release_key(version)
    return (since is None or release_key(since) <= key) and (until is None or key <= release_key(until))


def is_patch_of(version: str, other: str) -> bool:
    """Whether two releases differ in nothing before their third number: 0.33.2 and 0.33.0."""
    numbers, others = release_key(version)[0], release_key(other)[0]
    return len(numbers) > 1 and numbers[:2] == (*others, 0)[:2]
