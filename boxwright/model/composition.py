"""Puts a document together from parts: what several profiles share stands in one file, and is named, not copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.loading import Layer, position, read_layer, validated

Schema = TypeVar("Schema", bound=BaseModel)
KEY = "parts"


def load_composed(path: Path, schema: type[Schema], parts: Path) -> Schema:
    """Read a YAML file and the parts that it names, `parts/NAME.yml`, as one document.

    Later parts go before earlier ones, and the file's own keys before all parts. Mappings are joined key by key;
    a list or a plain value is replaced as a whole. A part has no parts of its own.

    Raises:
        BadInputError: A file is missing or is not YAML, there is no such part, or the whole breaks the schema.
    """
    layers = _layers(path, parts)
    document: dict[str, Any] = {}
    for layer in layers:
        document = joined(document, {key: value for key, value in layer.document.items() if key != KEY})
    return validated(document, schema, layers)


def place_of(path: Path, keys: Sequence[str], parts: Path) -> str:
    """`file:line:column` of a key in a file or in its parts; of the nearest key above it where it is unsaid.

    Raises:
        BadInputError: A file is missing or is not YAML, or there is no such part.
    """
    return position(_layers(path, parts), keys)


def _layers(path: Path, parts: Path) -> tuple[Layer, ...]:
    own = read_layer(path)
    return (*(_part(name, number, own, parts) for number, name in enumerate(_names(own))), own)


def joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two documents as one; where both have a plain value or a list, that of `above` counts."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = joined(below[key], above[key])
    return both


def _names(own: Layer) -> list[str]:
    names = own.document.get(KEY, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInputError(f"{KEY}: must be a list of names", where=position((own,), (KEY,)))
    return names


def _part(name: str, number: int, own: Layer, parts: Path) -> Layer:
    where = position((own,), (KEY, number))
    known = sorted(path.stem for path in parts.glob("*.yml"))
    if name not in known:
        raise BadInputError(f"no part '{name}'.{did_you_mean(name, known)}", where=where, hint=_there_are(known))
    part = read_layer(parts / f"{name}.yml")
    if KEY in part.document:
        raise BadInputError("a part has no parts of its own", where=position((part,), (KEY,)))
    return part


def _there_are(known: list[str]) -> str:
    return f"There are: {', '.join(known)}." if known else "There is no part yet."
