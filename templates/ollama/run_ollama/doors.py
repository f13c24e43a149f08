"""Who was proven to serve behind which door of this machine: kept by serve-unit, for engines of every kind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Sequence
from typing import Any

from instance import FailedError


class Doors:
    """The doors of this machine, by the program that keeps them."""

    def __init__(self, program: Sequence[str]) -> None:
        self.program = program

    def known(self) -> list[str]:
        """Every unit that is proven."""
        return self._order("known").split()

    def rivals(self, proofs: Sequence[dict[str, Any]], own: Collection[str]) -> list[str]:
        """Units of other engines that were proven behind one of these doors.

        Args:
            proofs: What serve-unit is told of the instances.
            own: Units that are no others.
        """
        found = [unit for proof in proofs for unit in self._order("rivals", told=proof).split()]
        return sorted({*found} - {*own})

    def keep(self, proof: dict[str, Any]) -> None:
        """Make an instance what is proven behind its door."""
        self._order("keep", told=proof)

    def end(self, unit: str) -> None:
        """Let a unit give way for the time being."""
        self._order("end", unit)

    def back(self, unit: str) -> str:
        """Let a unit serve again, and say how that went."""
        try:
            return self._order("back", unit).strip().rpartition("\n")[2]
        except FailedError as failure:
            return str(failure)

    def remove(self, unit: str) -> str:
        """Take a unit that gave way away with its files, and say so."""
        return self._order("remove", unit).strip()

    def forget(self, unit: str) -> None:
        """Nothing is proven of a unit any more. Its files went before."""
        self._order("remove", unit)

    def _order(self, *words: str, told: dict[str, Any] | None = None) -> str:
        # How long a start may take, serve-unit knows: it waits no longer than that.
        done = subprocess.run(
            [*self.program, *words],
            input=json.dumps(told) if told else "",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FailedError(f"serve-unit {words[0]} failed: {done.stderr.strip()}")
        return done.stdout
