"""What a lock knows of what lies on a box: digests of archives that the box itself no longer has. Pure."""

from __future__ import annotations

import re
from collections import defaultdict

from boxwright.factory.evidence.inventory import DebianPackage, Inventory, Program, Wheel
from boxwright.factory.lock import Kind, Lock


def with_lock(inventory: Inventory, lock: Lock) -> Inventory:
    """The same inventory, with the digests of archives that a lock names in that very version.

    What the box tells itself stays. Where a lock has several archives of one version, as for two Pythons, nobody can
    say which of them it was, and none is taken.
    """
    archives = _Archives(lock)

    def package(one: DebianPackage) -> DebianPackage:
        return one if one.sha256 else one.model_copy(update={"sha256": archives.find("debian", one.name, one.version)})

    def wheel(one: Wheel) -> Wheel:
        return one if one.sha256 else one.model_copy(update={"sha256": archives.find("wheel", one.name, one.version)})

    def program(one: Program) -> Program:
        return one.model_copy(update={"wheels": tuple(wheel(each) for each in one.wheels)})

    return inventory.model_copy(
        update={
            "packages": tuple(package(one) for one in inventory.packages),
            "programs": tuple(program(one) for one in inventory.programs),
        }
    )


class _Archives:
    def __init__(self, lock: Lock) -> None:
        self._known: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for one in lock.artefacts:
            self._known[one.kind, _normal(one.name), one.version].add(one.sha256)

    def find(self, kind: Kind, name: str, version: str) -> str:
        found = self._known.get((kind, _normal(name), version), set())
        return next(iter(found)) if len(found) == 1 else ""


def _normal(name: str) -> str:
    """As PyPI compares names; Debian's are written in one way alone."""
    return re.sub(r"[-_.]+", "-", name).lower()
