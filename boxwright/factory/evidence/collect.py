"""Asks a box for what lies on it, and leaves its evidence there."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TypeVar

from pydantic import ValidationError

from boxwright.errors import BoxwrightError
from boxwright.factory.evidence import remote_files, remote_fingerprint, remote_inventory
from boxwright.factory.evidence.inventory import Found, Inventory
from boxwright.transport.ssh import Endpoint, check

Told = TypeVar("Told", bound=Found)

FOLDER = "/etc/boxwright"
_TIMEOUT_S = 300  # a slow disk with a hundred thousand small files


def inventory_of(endpoint: Endpoint, models_directory: str, redact: Callable[[str], str]) -> Inventory:
    """What lies on a box, without the secrets that `redact` knows.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not tell.
    """
    answer = check(endpoint, _script(remote_inventory, models_directory), timeout_s=_TIMEOUT_S)
    return _read(endpoint, Inventory, redact(answer))


class Fingerprint(Found):
    """What tells whether a box is still the one that its evidence is of.

    Attributes:
        state: Digest of what a bill of materials is read from there.
        files: Digests of its receipt and its evidence, by the names of the files; empty where one is missing.
    """

    state: str
    files: dict[str, str]


def fingerprint_of(endpoint: Endpoint, models_directory: str) -> Fingerprint:
    """Ask a box whether it is still the same, in a tenth of the time that its inventory takes.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not tell.
    """
    return _read(endpoint, Fingerprint, check(endpoint, _script(remote_fingerprint, models_directory)))


def leave(endpoint: Endpoint, files: Mapping[str, bytes]) -> None:
    """Put files beside the receipt on a box, where they differ from what is there.

    Raises:
        UnreachableError: The box cannot be entered.
        BoxwrightError: It could not write them.
    """
    texts = json.dumps({name: data.decode() for name, data in files.items()})
    check(endpoint, _script(remote_files, FOLDER), stdin=texts)


def _read(endpoint: Endpoint, kind: type[Told], answer: str) -> Told:
    try:
        return kind.model_validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its answer"
        raise BoxwrightError(
            f"what the box told of itself cannot be read: {place}: {first['msg']}", where=endpoint.name
        ) from None


def _script(program: ModuleType, argument: str) -> str:
    return "exec " + shlex.join(["python3", "-I", "-S", "-c", inspect.getsource(program), argument])
