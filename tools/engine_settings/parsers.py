"""Prints, as JSON, the flags that an engine's own argument parser takes: `python -m … vllm|sglang FOLDER`.

With a third argument it reads command lines from standard input, and prints those that the parser refuses. It runs in a
process of its own, because it imports the engine among stand-ins.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin

from tools.engine_settings import stand_ins

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def vllm(folder: str) -> argparse.ArgumentParser:
    """The parser of `vllm serve`, on a machine with NVIDIA cards."""
    replaced: dict[str, dict[str, Any]] = {
        "torch": {"iinfo": lambda _kind: types.SimpleNamespace(min=_LOWEST, max=_HIGHEST)},
        "vllm.ir": {},  # kernels
        "vllm.third_party.pynvml": {"nvmlDeviceGetCount": lambda: 1},
        "vllm.v1.serial_utils": {},  # messages between processes
    }
    stand_ins.install(folder, "vllm", replaced)
    engine: Any = importlib.import_module("vllm.engine.arg_utils")
    if hasattr(engine, "get_type"):
        engine.get_type = _one_of_type  # its own takes any member of a set: another one in each process
    places = ("common", "launchers", "openai")  # the newest first
    arguments = _first(*(f"vllm.entrypoints.{place}.cli_args" for place in places))
    parser = _first("vllm.utils.argparse_utils", "vllm.utils").FlexibleArgumentParser()
    return arguments.make_arg_parser(parser)  # type: ignore[no-any-return]


def _one_of_type(hints: set[Any], kind: Any) -> Any:
    """The hint of a kind, among those of one field; several Literals become one."""
    found = sorted((hint for hint in hints if hint is kind or get_origin(hint) is kind), key=repr)
    if kind is Literal and len(found) > 1:
        return Literal[tuple(sorted({word for hint in found for word in get_args(hint)}))]
    return found[0] if found else None


def sglang(folder: str) -> argparse.ArgumentParser:
    """The parser of `sglang.launch_server`."""
    replaced: dict[str, dict[str, Any]] = {
        "dill": {"dumps": lambda _class: b""},
        "sglang.srt.layers.attention.fla": {},  # kernels
    }
    stand_ins.install(folder, "sglang", replaced)
    parser = argparse.ArgumentParser()
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return parser


def _first(*names: str) -> Any:
    """The first of these modules that is there."""
    for name in names[:-1]:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    return importlib.import_module(names[-1])


def rows(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Each flag as a row of a table."""
    spellings: dict[int, list[str]] = {}
    for spelling, action in parser._option_string_actions.items():  # also those that help does not show
        spellings.setdefault(id(action), []).append(spelling)
    found = []
    for action in parser._actions:
        names = spellings.get(id(action), [])
        if names and not isinstance(action, argparse._HelpAction | argparse._VersionAction):
            found.append(_row(action, names))
    return found


def _row(action: argparse.Action, spellings: list[str]) -> dict[str, Any]:
    opposites: set[str] = set()
    if isinstance(action, argparse.BooleanOptionalAction):
        opposites = {f"--no-{name[2:]}" for name in spellings if f"--no-{name[2:]}" in spellings}
        opposites |= getattr(action, "negative_option_strings", set())
    own = [name for name in spellings if name not in opposites]
    name = next(spelling for spelling in own if spelling.startswith("--"))
    row: dict[str, Any] = {"name": name, "aliases": [other for other in own if other != name], **_value(action)}
    if f"--no-{name[2:]}" in opposites:
        row["opposite"] = f"--no-{name[2:]}"
    if (default := _default(action.default)) is not None:
        row["default"] = default
    return row


def _value(action: argparse.Action) -> dict[str, Any]:
    """What a flag takes."""
    if action.nargs == 0:
        return {"type": "boolean"}
    choices = action.choices if action.choices is not None else action.metavar
    words = _words(choices) if not isinstance(choices, str) else []
    accepts = _probe(action.type)
    scalar = _scalar(accepts)
    many = isinstance(action.nargs, int) or action.nargs in ("+", "*")
    if many or isinstance(action, argparse._AppendAction):
        row: dict[str, Any] = {"type": "list", "form": "words" if many else "repeat"}
        if words:
            row["choices"] = words
        if scalar["type"] in ("integer", "number"):
            row["items"] = scalar["type"]
        return row
    return {"type": "choice", "choices": words} if words else scalar


def _words(choices: Iterable[Any] | None) -> list[str]:
    """Choices as text, without the one that stands for none at all."""
    named = [choice for choice in choices or () if choice is not None and not stand_ins.is_stand_in(choice)]
    return sorted({str(choice) for choice in named} - {"None"})


def _probe(convert: Any) -> Callable[[str], bool]:
    """Whether the function that a parser gives its values to takes a text."""

    def accepts(text: str) -> bool:
        if convert is None:
            return True
        try:
            convert(text)
        except Exception:  # whatever it raises, argparse would refuse the text or die
            return False
        return True

    return accepts


def _scalar(accepts: Callable[[str], bool]) -> dict[str, Any]:
    """The kind of a value, told by what its converter takes: recorded names would be of closures."""
    if accepts("word"):
        return {"type": "text"}
    if accepts("{}") or accepts('{"a": 1}'):
        return {"type": "json"}
    if not accepts("1"):
        return {"type": "text"}  # a list in one word, or a class by its path: the engine looks at it later
    row: dict[str, Any] = {"type": "number" if accepts("1.5") else "integer"}
    if accepts("32k"):
        row["suffixes"] = True
    if accepts("auto"):
        row["also"] = ["auto"]
    return row


def _default(default: Any) -> str | None:
    """A default that reads the same on every machine, or nothing."""
    if default is None or default is argparse.SUPPRESS or stand_ins.is_stand_in(default):
        return None
    if isinstance(default, bool):
        return "true" if default else "false"
    if hasattr(default, "value"):  # of an enumeration
        default = default.value
    if isinstance(default, str | int | float):
        return str(default)
    with contextlib.suppress(TypeError, ValueError):
        return json.dumps(sorted(default) if isinstance(default, set) else default)
    return None


def refused(parser: argparse.ArgumentParser, commands: list[list[str]]) -> list[list[str]]:
    """Those of some command lines that a parser does not take."""
    found = []
    for words in commands:
        try:
            parser.parse_args(words)
        except (Exception, SystemExit):  # argparse ends the program, and a converter may raise anything
            found.append(words)
    return found


def main() -> None:
    """Print the rows of the parser that the arguments name, or what it refuses of standard input."""
    engine, folder, *judge = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # engines log on import
        parser = {"vllm": vllm, "sglang": sglang}[engine](folder)
        told = refused(parser, json.load(sys.stdin)) if judge else rows(parser)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
