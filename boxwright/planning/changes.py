"""What a plan says: one value for each resource that would change, whichever engine would change it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One resource of one host that is not yet as wanted.

    Attributes:
        host: The host's name in the fleet.
        stage: The role or the deploy that the resource belongs to.
        engine: Who would change it: `ansible` or `pyinfra`.
        resource: The task or the operation, by the name that a person gave it.
        diff: Unified-diff text; empty where the engine can only say that something would change.
    """

    host: str
    stage: str
    engine: str
    resource: str
    diff: str = ""
