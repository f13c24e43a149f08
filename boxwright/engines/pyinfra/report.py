"""Turns what happens to the operations of one deploy on one host into redacted Events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from boxwright.engines.events import Event, Outcome, Phase
from boxwright.redaction import Redactor

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Verdict:
    """How a resource ended."""

    outcome: Outcome
    message: str = ""
    output: str = ""
    diff: str = ""
    seconds: float = 0.0


class Reporter:
    """Emits the Events of one host and stage.

    Args:
        host: The host's name.
        stage: The deploy file's stem.
        emit: Where Events go.
        redact: Takes the secrets out of every text.
    """

    def __init__(self, host: str, stage: str, emit: Emit, redact: Redactor) -> None:
        self._host = host
        self._stage = stage
        self._emit = emit
        self._redact = redact

    def holds_secret(self, text: str) -> bool:
        """Whether a secret that is known here stands in a text."""
        return self._redact(text) != text

    def started(self, resource: str) -> None:
        """Work on a resource begins."""
        self._emit(Event(host=self._host, stage=self._stage, resource=self._redact(resource), phase=Phase.STARTED))

    def progress(self, resource: str, told: str) -> None:
        """Work on a resource goes on: so far is it."""
        self._emit(
            Event(
                host=self._host,
                stage=self._stage,
                resource=self._redact(resource),
                phase=Phase.STARTED,
                message=self._redact(told),
            )
        )

    def finished(self, resource: str, verdict: Verdict) -> None:
        """Work on a resource has ended."""
        self._emit(
            Event(
                host=self._host,
                stage=self._stage,
                resource=self._redact(resource),
                phase=Phase.FINISHED,
                outcome=verdict.outcome,
                diff=self._redact(verdict.diff),
                message=self._redact(verdict.message),
                output=self._redact(verdict.output),
                seconds=round(verdict.seconds, 3),
            )
        )
