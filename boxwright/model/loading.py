"""Reads YAML into the model. Every error names file:line:column, the key, and the nearest thing that would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from boxwright.errors import BadInputError, did_you_mean

Schema = TypeVar("Schema", bound=BaseModel)
MAX_BYTES = 1_000_000  # a profile is a few kilobytes; more is a mistake, and YAML parsing is slow


@dataclass(frozen=True)
class Layer:
    """One file of those that a document is put together from."""

    path: Path
    document: dict[str, Any]


def load(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file as `schema`.

    Raises:
        BadInputError: The file is missing, is not YAML, or breaks the schema.
    """
    layer = read_layer(path)
    return validated(layer.document, schema, (layer,))


def validated(document: dict[str, Any], schema: type[Schema], layers: Sequence[Layer]) -> Schema:
    """Hold a document against its schema; a mistake is looked up in the layers, the last of which counts most.

    Raises:
        BadInputError: The document breaks the schema.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise _explain(layers, schema, error) from None


def read_layer(path: Path) -> Layer:
    """Read a YAML file that is a mapping, with the places of its keys.

    Raises:
        BadInputError: The file is missing, or is not such YAML.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise BadInputError(f"{len(raw)} bytes is too large for a settings file", where=str(path))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInputError("not UTF-8 text", where=f"{path}:{line}", hint="Save the file as UTF-8.") from None
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        document = yaml.load(text)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "([^"]*)"', str(error.problem))
        raise BadInputError(
            f"the key '{key[1] if key else '?'}' stands twice in one section",
            where=_mark(path, error),
            hint="Keep one of the two.",
        ) from None
    except MarkedYAMLError as error:
        raise BadInputError(
            f"not valid YAML: {error.problem or error.context}",
            where=_mark(path, error),
            hint=_yaml_hint(text, error),
        ) from None
    except (ReaderError, YAMLError, RecursionError, ValueError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(f"not valid YAML: {problem}", where=str(path)) from None
    if document is None:
        raise BadInputError(
            "the file is empty",
            where=f"{path}:1",
            hint="`./invoke docs profile` and `./invoke docs site` print examples.",
        )
    if not isinstance(document, dict):
        raise BadInputError("the file must be a mapping of keys to values", where=f"{path}:1")
    return Layer(path, document)


def _mark(path: Path, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _yaml_hint(text: str, error: MarkedYAMLError) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]:
        return "YAML is indented by spaces; this line holds a tab."
    return "Look at the line before it, too: a missing colon or quote is often there."


def _explain(layers: Sequence[Layer], schema: type[BaseModel], error: ValidationError) -> BadInputError:
    """All mistakes as one error: the first as the message, the others below it."""
    details = error.errors(include_url=False)
    lines = []
    for detail in details:
        if detail["type"] == "too_short" and _follows(detail, details):
            continue
        keys = tuple(detail["loc"])
        lines.append((position(layers, detail.get("ctx", {}).get("keys", keys)), _sentence(schema, keys, detail)))
    (where, first), rest = lines[0], lines[1:]
    more = "\n".join(f"{place}: {text}" for place, text in rest)
    return BadInputError(first, where=where, hint=f"Also wrong:\n{more}" if more else "")


def _follows(detail: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because of what is wrong in it, and told already."""
    loc = detail["loc"]
    return any(one is not detail and one["loc"][: len(loc)] == loc for one in others)


def position(layers: Sequence[Layer], keys: Sequence[int | str]) -> str:
    """`file:line:column` of the deepest of these keys that is really there, in the last layer that has it."""
    places = [(_place(layer, keys), number) for number, layer in enumerate(layers)]
    (_, line, column), number = max(places, key=lambda place: (place[0][0], place[1]))
    return f"{layers[number].path}:{line + 1}:{column + 1}"


def _place(layer: Layer, keys: Sequence[int | str]) -> tuple[int, int, int]:
    """How many of these keys a layer holds one in the other, and where the last of them stands."""
    depth, line, column = 0, 0, 0
    node: Any = layer.document
    for key in keys:
        try:
            if isinstance(node, dict):
                line, column = node.lc.key(key)  # type: ignore[attr-defined]
            else:
                line, column = node.lc.item(key)
            node = node[key]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
        depth += 1
    return depth, line, column


def _sentence(schema: type[BaseModel], keys: Sequence[int | str], detail: ErrorDetails) -> str:
    name = ".".join(str(key) for key in keys)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _fields_at(schema, keys[:-1])
        return f"unknown key '{name}'.{did_you_mean(str(keys[-1]), known) or _one_of(known)}"
    if kind == "missing":
        return f"the key '{name}' is missing"
    if kind == "literal_error":
        expected = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
        given = detail["input"]
        return f"{name}: '{given}' is not one of {', '.join(expected)}.{did_you_mean(str(given), expected)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = detail["input"]
    shown = f" (found {given!r:.60})" if isinstance(given, str | int | float | bool | None) else ""
    return f"{name}: {message}{shown}" if name else message


def _one_of(known: Sequence[str]) -> str:
    return f" Known here: {', '.join(sorted(known))}." if known else ""


def _fields_at(schema: type[BaseModel], keys: Sequence[int | str]) -> list[str]:
    """The keys that the schema knows at this place."""
    here: type[BaseModel] | None = schema
    for key in keys:
        if here is None:
            return []
        if isinstance(key, int) or key not in here.model_fields:
            continue
        here = _schema_in(here.model_fields[key].annotation)
    return list(here.model_fields) if here else []


def _schema_in(annotation: Any) -> type[BaseModel] | None:
    """The schema class inside an annotation such as `tuple[Host, ...]` or `Certificate | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _schema_in(part))), None)
