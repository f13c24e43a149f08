"""The box of one operation that is several commands: each may fail, and what it said is what the operation says."""

from __future__ import annotations

from typing import Any

from pyinfra.api import StringCommand
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploys.operations.sending import tell


class FailedError(Exception):
    """A command on the box failed."""

    def __init__(self, output: CommandOutput) -> None:
        super().__init__(output.stderr)
        self.output = output


def complaint(text: str) -> CommandOutput:
    """What an operation says that failed without a command's word."""
    return CommandOutput([OutputLine("stderr", line) for line in text.splitlines()])


class Box:
    """Runs commands on the box of an operation.

    Args:
        state: Of pyinfra.
        host: The box, as pyinfra knows it.
        arguments: How commands are run there, such as by whom.
    """

    def __init__(self, state: Any, host: Any, arguments: dict[str, Any]) -> None:
        self._state, self._host, self._arguments = state, host, dict(arguments)
        self.name = host.name

    def run(self, command: StringCommand, seconds: int, stdin: str = "") -> tuple[bool, CommandOutput]:
        """Run a command for so many seconds at most; tell whether it succeeded, and what it said."""
        arguments = self._arguments | {"_timeout": seconds} | ({"_stdin": stdin} if stdin else {})
        done, output = self._host.run_shell_command(command, print_output=self._state.print_output, **arguments)
        return bool(done), output

    def must(self, command: StringCommand, seconds: int, stdin: str = "") -> str:
        """Run a command that has to succeed; return what it said.

        Raises:
            FailedError: It did not.
        """
        done, output = self.run(command, seconds, stdin)
        if not done:
            raise FailedError(output)
        return str(output.stdout)

    def tell(self, text: str) -> None:
        """Show how far it is, where somebody watches."""
        tell(self._host, text)
