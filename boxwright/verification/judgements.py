"""What a program on the box judged of each service, as the outcome of one check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.verification.check import UnprovenError


def evidence_of(found: Sequence[Mapping[str, str]]) -> str:
    """What was seen of all services.

    Args:
        found: Of each `wrong`, `unproven` and `seen`, as `templates/engine_unit` has them.

    Raises:
        AssertionError: Something is wrong.
        UnprovenError: Nothing is, and of something nothing can be said.
    """
    wrong = [one["wrong"] for one in found if one["wrong"]]
    if wrong:
        raise AssertionError("; ".join(wrong))
    seen = [one["seen"] for one in found if one["seen"]]
    unproven = [one["unproven"] for one in found if one["unproven"]]
    if unproven:
        raise UnprovenError("; ".join([*dict.fromkeys(unproven), *seen]))
    return "; ".join(seen)
