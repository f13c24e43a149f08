"""The one stream that both engines speak: what happened to which resource of which host.

An engine process writes one event a line as JSON on its standard output. Anything else that it writes is kept as
noise for the run log and never parsed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Phase(StrEnum):
    """Where in its life a resource is."""

    STARTED = "started"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a resource ended on one host."""

    OK = "ok"  # already as wanted
    CHANGED = "changed"  # brought to what is wanted, or would be in a dry run
    SKIPPED = "skipped"  # its condition does not hold here
    FAILED = "failed"
    UNREACHABLE = "unreachable"


class Event(BaseModel):
    """One step in the life of one resource on one host.

    `resource` is an Ansible task or a pyinfra operation, by the name that a person gave it. `stage` is the role or the
    deploy that it belongs to. `seconds` is the wall-clock time of a finished resource. `diff` is unified-diff text.
    A resource that is told to have started once more is still at work, and `message` says how far it is. `output`
    holds the last lines of the failing program; it is never set from a task marked as secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    stage: str
    resource: str
    phase: Phase
    outcome: Outcome | None = None
    diff: str = ""
    message: str = ""
    output: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @property
    def changed(self) -> bool:
        """Whether the resource was, or in a dry run would be, altered."""
        return self.outcome is Outcome.CHANGED

    @property
    def failed(self) -> bool:
        """Whether the host stops here."""
        return self.outcome in (Outcome.FAILED, Outcome.UNREACHABLE)
