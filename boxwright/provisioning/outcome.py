"""How a run ended, host by host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from boxwright.errors import BoxwrightError, Exit, LockedError
from boxwright.planning.changes import PlannedChange

StageState = Literal["ok", "changed", "failed"]


@dataclass
class HostOutcome:
    """What became of one host. `error` is set when it did not come through all of its stages."""

    host: str
    seconds: dict[str, float] = field(default_factory=dict)
    changes: list[PlannedChange] = field(default_factory=list)
    already_right: int = 0
    error: BoxwrightError | None = None

    @property
    def finished(self) -> bool:
        """Whether the host came through all of its stages."""
        return self.error is None


def exit_code(outcomes: Sequence[HostOutcome]) -> Exit:
    """The exit code of a run over these hosts."""
    failed = [outcome for outcome in outcomes if not outcome.finished]
    if not failed:
        return Exit.OK
    if len(failed) < len(outcomes):
        return Exit.PARTIAL
    return Exit.LOCKED if all(isinstance(outcome.error, LockedError) for outcome in failed) else Exit.ERROR
