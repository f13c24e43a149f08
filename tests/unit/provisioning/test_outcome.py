"""What a run's exit code says of its hosts."""

from __future__ import annotations

import pytest

from boxwright.errors import BoxwrightError, Exit, LockedError, UnreachableError
from boxwright.provisioning.outcome import HostOutcome, exit_code

WELL, FAILED, GONE, LOCKED = None, BoxwrightError("x"), UnreachableError("x"), LockedError("x")


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([WELL], Exit.OK),
        ([WELL, WELL], Exit.OK),
        ([WELL, FAILED], Exit.PARTIAL),
        ([WELL, LOCKED], Exit.PARTIAL),
        ([FAILED], Exit.ERROR),
        ([FAILED, GONE], Exit.ERROR),
        ([LOCKED], Exit.LOCKED),
        ([LOCKED, LOCKED], Exit.LOCKED),
        ([LOCKED, FAILED], Exit.ERROR),
    ],
)
def test_one_code_for_all_hosts(errors: list[BoxwrightError | None], code: Exit) -> None:
    outcomes = [HostOutcome(f"box-{number}", error=error) for number, error in enumerate(errors)]
    assert exit_code(outcomes) is code
