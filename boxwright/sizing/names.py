"""Names of models that stand in no catalogue."""

from __future__ import annotations


def identifier(name: str) -> str:
    """A file's or a folder's name as a model's id."""
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name.lower())
    return plain.strip(".-") or "model"
