"""The commented examples of the two kinds of file, which a test holds against their schemas."""

from __future__ import annotations

from boxwright.errors import BadInputError, did_you_mean
from boxwright.places import ROOT

TOPICS = ("profile", "site")


def example(topic: str) -> str:
    """The commented example.

    Raises:
        BadInputError: There is no such topic.
    """
    if topic not in TOPICS:
        hint = f"There are: {', '.join(TOPICS)}."
        raise BadInputError(f"no example of '{topic}'.{did_you_mean(topic, TOPICS)}", hint=hint)
    return (ROOT / "docs" / "examples" / f"{topic}.yml").read_text(encoding="utf-8")
