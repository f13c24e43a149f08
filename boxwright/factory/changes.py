"""What differs between two locks, as a changelog tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from boxwright.factory.lock import KINDS, Artefact, Kind, Lock

Sign = Literal["+", "-", "~"]


@dataclass(frozen=True)
class Change:
    """One line of the changelog."""

    kind: Kind
    sign: Sign  # new, gone, or another
    name: str
    text: str  # versions, and what is to be said besides


def changes(before: Lock, after: Lock) -> list[Change]:
    """Everything that differs, by kind and name."""
    old, new = _by_name(before), _by_name(after)
    names = sorted({*old, *new}, key=lambda key: (list(KINDS).index(key[0]), key[1]))
    return [change for key in names for change in _of(key, old.get(key, {}), new.get(key, {}))]


def bytes_to_fetch(before: Lock, after: Lock) -> int:
    """How much a bundle of the first lacks of the second."""
    have = {one.sha256 for one in before.artefacts}
    return sum(one.size for one in after.artefacts if one.sha256 not in have)


def _by_name(lock: Lock) -> dict[tuple[Kind, str], dict[str, Artefact]]:
    found: dict[tuple[Kind, str], dict[str, Artefact]] = {}
    for one in lock.artefacts:
        found.setdefault((one.kind, one.name), {})[one.sha256] = one
    return found


def _of(key: tuple[Kind, str], old: dict[str, Artefact], new: dict[str, Artefact]) -> Iterator[Change]:
    kind, name = key
    gone = [one for digest, one in old.items() if digest not in new]
    come = [one for digest, one in new.items() if digest not in old]
    if len(gone) == len(come) == 1:
        before, after = gone[0], come[0]
        if before.version == after.version:
            text = f"{after.version}: other bytes ({before.sha256[:12]} → {after.sha256[:12]})"
        else:
            text = f"{before.version} → {after.version}"
        yield Change(kind, "~", name, text)
        return
    yield from (Change(kind, "-", name, one.version) for one in gone)
    yield from (Change(kind, "+", name, f"{one.version} ({', '.join(one.used_by)})") for one in come)
    for digest in sorted(set(old) & set(new)):
        uses = old[digest].used_by, new[digest].used_by
        if uses[0] != uses[1]:
            text = f"{new[digest].version}: for {', '.join(uses[1])}, and not for {', '.join(uses[0])}"
            yield Change(kind, "~", name, text)
