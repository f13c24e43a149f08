"""Turns a function into a verb: errors become sentences and exit codes. Imports nothing heavy, for `invoke --list`."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from boxwright.errors import BadInputError, BoxwrightError, Exit

if TYPE_CHECKING:
    from boxwright.console import Console


def verb(function: Callable[..., Exit | None], meanings: Mapping[str, str]) -> Callable[..., None]:
    """Let a function that takes a console as its first argument be run as an Invoke task.

    The task gets `--json`. What the function returns is the command's exit code; an error is shown and gives its own.

    Args:
        function: What the verb does. An argument without a default is an option that must be given.
        meanings: What options are, by name, for whoever left one out.
    """
    needed = _needed(function)

    @functools.wraps(function)
    def run(_context: Any, *args: Any, json: bool = False, **kwargs: Any) -> None:
        from boxwright.console import Console  # noqa: PLC0415  costs 0.1 s, which `--list` need not pay

        console = Console(json=json)
        try:
            for name in needed:
                if kwargs.get(name) is None:  # Invoke gives None for what was not said
                    raise _left_out(_said(function), name, meanings)
            code = function(console, *args, **kwargs) or Exit.OK
        except BoxwrightError as error:
            console.error(error)
            code = error.exit_code
        except OSError as problem:  # a full or read-only disk, a program that is not installed
            console.error(_of_this_machine(problem))
            code = Exit.ERROR
        except KeyboardInterrupt:
            code = _interrupted(console)
        sys.stdout.flush()
        if code is not Exit.OK:
            _end(code)

    _declare_json(run, function)
    return run


def _said(function: Callable[..., Any]) -> str:
    """A verb as a person says it: `models_list` is `models.list`."""
    return function.__name__.replace("_", ".", 1)


def _needed(function: Callable[..., Any]) -> list[str]:
    """The options of a verb that have no default, without the console."""
    import inspect  # noqa: PLC0415

    _, *options = inspect.signature(function).parameters.values()
    return [option.name for option in options if option.default is inspect.Parameter.empty]


def _left_out(verb_name: str, option: str, meanings: Mapping[str, str]) -> BadInputError:
    verb_name = verb_name.replace("_", ".")  # as a person types it
    return BadInputError(
        f"{verb_name} needs --{option}: {meanings.get(option, option)}",
        hint=f"./invoke {verb_name} --help shows its options.",
    )


def _declare_json(run: Callable[..., None], function: Callable[..., Any]) -> None:
    """Give the task the function's own arguments, with `--json` behind them."""
    import inspect  # noqa: PLC0415

    signature = inspect.signature(function)
    context, *rest = signature.parameters.values()
    option = inspect.Parameter("json", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
    run.__signature__ = signature.replace(parameters=[context, *rest, option])  # type: ignore[attr-defined]


def _of_this_machine(problem: OSError) -> BoxwrightError:
    """What went wrong on the controller itself, and what to do about it."""
    files = [str(name) for name in (problem.filename, problem.filename2) if name]
    hint = {
        errno.ENOSPC: "Free some space on that disk. The same command goes on from here.",
        errno.EDQUOT: "Free some space on that disk. The same command goes on from here.",
        errno.EROFS: "That disk can only be read: name another folder, or mount it for writing.",
        errno.EACCES: "Whoever runs this may not do that there: look at the owner and the mode.",
    }.get(problem.errno or 0, "Run ./invoke doctor: it tells what this machine lacks.")
    return BoxwrightError(problem.strerror or str(problem), where=files[-1] if files else "", hint=hint)


def _interrupted(console: Console) -> Exit:
    console.warning("Interrupted. What was done stays done; the same command goes on from here.")
    return Exit.INTERRUPTED


def _end(code: Exit) -> NoReturn:
    from invoke.exceptions import Exit as InvokeExit  # noqa: PLC0415

    raise InvokeExit(code=int(code))
