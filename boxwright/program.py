"""The program behind `./invoke`: Invoke with our verbs, and with errors that say what to type instead.

A command line that cannot be read ends with exit code 4 before a verb begins. `./invoke` starts this as
`python -P -m boxwright.program`, so that a `tasks.py` of the caller's own directory is never taken for ours.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from invoke.collection import Collection
from invoke.exceptions import Exit as InvokeExit
from invoke.exceptions import ParseError
from invoke.program import Program

from boxwright import __version__
from boxwright.errors import BadInputError, Exit, did_you_mean

if TYPE_CHECKING:
    from invoke.parser.argument import Argument
    from invoke.parser.context import ParserContext

# Options of Invoke's own that mean nothing to our verbs. `--dry` would promise what no verb keeps.
_NOT_OURS = {
    "command-timeout",
    "config",
    "dry",
    "echo",
    "hide",
    "prompt-for-sudo-password",
    "pty",
    "warn-only",
}


class BoxwrightProgram(Program):
    """Invoke's program, bound to the verbs of `tasks.py`."""

    def core_args(self) -> list[Argument]:
        """The options that stand before a verb."""
        options = [option for option in super().core_args() if option.names[0] not in _NOT_OURS]
        for option in options:
            if option.names[0] == "write-pyc":
                option.default = True  # else each verb would compile Boxwright again
        return options

    def parse_core_args(self) -> None:
        """Read the options that stand before a verb."""
        self._explaining(super().parse_core_args)

    def update_config(self, merge: bool = True) -> None:
        """No option before a verb changes how the verb runs."""

    def parse_tasks(self) -> None:
        """Read the verbs and their options."""
        match self.core.unparsed:
            # Invoke would take the option for the argument that a verb without an option's name waits for.
            case [verb, "--help" | "-h", *_] if verb in self.collection.task_names:
                self.args.help.value = verb
                self.core.unparsed = []
        self._explaining(super().parse_tasks)

    def parse_cleanup(self) -> None:
        """Answer `--help` and `--list`."""
        self._explaining(super().parse_cleanup)

    def _explaining(self, parse: Callable[[], None]) -> None:
        try:
            parse()
        except ParseError as error:
            self._refuse(self._explained(str(error), error.context))
        except ValueError as error:  # of an option that takes a number
            self._refuse(self._no_number(str(error)))
        except InvokeExit as ended:
            if not ended.message:
                raise
            self._refuse(BadInputError(ended.message))

    def _explained(self, said: str, context: ParserContext | None) -> BadInputError:
        """What Invoke said, in our words; what we do not know, in its own."""
        verb = context.name if context and context.name else ""
        hint = f"./invoke {verb} --help shows its options." if verb else "./invoke --list shows all verbs."
        if unknown := re.fullmatch(r"No idea what ['\"](.*)['\"] is!", said, re.DOTALL):
            return BadInputError(self._unknown(unknown[1], verb, context), hint=hint)
        if bare := re.match(r"Flag <Argument: ([\w-]+).*needed value and was not given one!", said):
            option = bare[1].replace("_", "-")
            return BadInputError(f"--{option} needs a value: {self._meaning(context, bare[1])}", hint=hint)
        if missing := re.fullmatch(r"'.*' did not receive required positional arguments: '([\w-]+)'.*", said):
            meaning = self._meaning(context, missing[1])
            example = f"For example: ./invoke {verb} {meaning.split()[0]}"
            return BadInputError(f"{verb} needs a {missing[1]}: {meaning}", hint=example)
        return BadInputError(said, hint=hint)

    def _unknown(self, word: str, verb: str, context: ParserContext | None) -> str:
        verbs = list(self.collection.task_names)
        if word.startswith("-"):
            options = list(context.flags) if context else []
            whose = verb or "./invoke"
            return f"{whose} has no option '{word}'.{did_you_mean(word, options)}"
        if verb:
            return f"'{word}' after {verb} is neither an option of it nor another verb.{did_you_mean(word, verbs)}"
        return f"there is no verb '{word}'.{did_you_mean(word, verbs)}"

    def _no_number(self, said: str) -> BadInputError:
        word = said.rpartition(": ")[2].strip("'")
        options = [option for option, value in pairwise(self.argv) if value == word]
        options += [text.removesuffix(f"={word}") for text in self.argv if text.endswith(f"={word}")]
        return BadInputError(f"{options[0] if options else 'an option'} takes a number, and '{word}' is none")

    @staticmethod
    def _meaning(context: ParserContext | None, name: str) -> str:
        argument: Any = context.args.get(name) if context else None
        return argument.help if argument is not None and argument.help else name

    def _refuse(self, error: BadInputError) -> NoReturn:
        from boxwright.console import Console  # noqa: PLC0415  costs 0.1 s, which `--list` need not pay

        Console(json="--json" in self.argv).error(error)
        raise InvokeExit(code=int(Exit.BAD_INPUT))


def main() -> None:
    """Run what stands on the command line."""
    verbs = Collection.from_module(importlib.import_module("tasks"))
    BoxwrightProgram(name="Boxwright", binary="./invoke", version=__version__, namespace=verbs).run()


if __name__ == "__main__":
    main()
