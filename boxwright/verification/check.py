"""What a check is and how it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from boxwright.model.base import Frozen


class Severity(StrEnum):
    """What a failed check means for the people who use the box."""

    CRITICAL = "critical"  # data or access is exposed, or the box does not serve
    MAJOR = "major"  # it serves, but not as promised
    MINOR = "minor"  # worth mending at the next visit


class CheckOutcome(StrEnum):
    """How a check ended. There is no "skipped": what could not be looked at on a real machine has failed."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    WAIVED = "waived"  # failed, and a named person accepts that for a reason
    UNPROVEN = "unproven"  # of a twin alone: it has nothing that could be looked at, for a reason


class UnprovenError(Exception):
    """A check cannot prove anything here, and its text says why.

    On a twin the check is then told as unproven, never as passed. On a real machine it has failed, unless a waiver sets
    it aside.

    Attributes:
        because: The check whose waiver sets this one aside, too: it tells the same reason once. Empty: its own alone.
    """

    def __init__(self, reason: str, *, because: str = "") -> None:
        super().__init__(reason)
        self.because = because


class PlannedCheck(Frozen):
    """A check before it ran.

    Attributes:
        id: Subject and promise, `gateway.tls`.
        title: The promise as a sentence.
        severity: What its breach means.
        remedy: What a person does about a breach.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[A-Za-z0-9_\[\]/.-]+)+$")]
    title: str
    severity: Severity
    remedy: str


class Check(PlannedCheck):
    """A check after it ran on one host. `evidence` is what was seen; it never holds the value of a secret."""

    host: str
    outcome: CheckOutcome
    evidence: str
    seconds: Annotated[float, Field(ge=0)] = 0.0


class Line(Frozen):
    """One line of the stream between the process that checks and the runner. One of the fields is set."""

    planned: tuple[PlannedCheck, ...] | None = None
    started: str | None = None
    finished: Check | None = None
