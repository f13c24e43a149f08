"""Every error a person can meet: what happened, where, why, and what to do next.

An error carries the exit code of the command that it ends, so that scripts can tell a typo from a broken host.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit code means. `docs/verbs/README.md` tells users the same."""

    OK = 0
    ERROR = 1  # the run could not start or a stage failed on every host
    CHANGES = 2  # `plan`: something would change; `fit`: it does not fit
    PARTIAL = 3  # some hosts are finished, some are not
    BAD_INPUT = 4  # a file or an argument is wrong; nothing was contacted
    LOCKED = 5  # another operator is at work on the box, or serves a bundle where this run would
    VERIFY_FAILED = 6  # provisioned, but a check does not hold
    INTERRUPTED = 130


class BoxwrightError(Exception):
    """The root of everything raised on purpose.

    Args:
        message: What happened, in one sentence.
        where: `file:line:column`, or `host / stage / resource`.
        hint: What the reader does next.
        output: The last lines that the failing program printed, if one failed.
    """

    exit_code: Exit = Exit.ERROR

    def __init__(self, message: str, *, where: str = "", hint: str = "", output: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.output = output

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


class BadInputError(BoxwrightError):
    """A profile, a site or an argument is wrong. Raised before anything connects."""

    exit_code = Exit.BAD_INPUT


class LabError(BoxwrightError):
    """A twin or its network could not be made on this machine."""


class UnreachableError(BoxwrightError):
    """A host did not answer over ssh in time, or its host key is not pinned."""


class ChangedKeyError(UnreachableError):
    """A host showed another key than the pinned one: it was reinstalled, or is not the machine that it was."""


class EngineError(BoxwrightError):
    """An engine (Ansible, pyinfra) ended without telling how its hosts fared."""


class LockedError(BoxwrightError):
    """Another run holds the deploy lock of a box."""

    exit_code = Exit.LOCKED


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known word, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
