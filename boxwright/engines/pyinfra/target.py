"""A box as pyinfra sees it: a Host that knows when it is asked for a fact, and a connector over our session.

pyinfra finds connectors through entry points of installed packages; `OneHostInventory` hands ours over
directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import (
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command,
)
from pyinfra.facts.server import TmpDir

from boxwright.engines.pyinfra.facts import Facts, Question
from boxwright.engines.pyinfra.session import Completed, Session, receive_file_command

_UPLOAD_CHUNK = 256 * 1024
_LAST_LINES = 10
_GRACE_S = 15  # for a command that was ended on the box to say so
_TIMED_OUT = (124, 137)  # of timeout(1)

_INNER_KEYS = ("_env", "_chdir")
_PRIVILEGE_KEYS = (
    "_sudo",
    "_sudo_user",
    "_use_sudo_login",
    "_preserve_sudo_env",
    "_su_user",
    "_use_su_login",
    "_su_shell",
    "_preserve_su_env",
    "_doas",
    "_doas_user",
    "_dzdo",
    "_dzdo_user",
)


class TooEarlyError(PyinfraError):
    """A deploy file wants to act on the box while its preparation still rests on assumed answers."""


class FactFailedError(PyinfraError):
    """A fact's command failed on the box; pyinfra itself only says "No hosts remaining!"."""

    def __init__(self, fact: str, trouble: str) -> None:
        super().__init__(f"fact {fact} failed: {trouble}")


class BatchedHost(Host):
    """A pyinfra Host whose facts go through `Facts`."""

    def __init__(self, name: str, inventory: Inventory, *, session: Session, facts: Facts) -> None:
        self.session = session
        self.facts = facts
        self.last_fact_error = ""
        self.on_progress: Callable[[str], None] | None = None  # gets what the operation at work tells of its progress
        self._fact_depth = 0
        super().__init__(name, inventory=inventory, groups=[], connector_cls=Connector)

    @property
    def asking(self) -> bool:
        """Whether the command that comes now belongs to a fact."""
        return self._fact_depth > 0

    def get_fact(self, name_or_cls: Any, *args: Any, **kwargs: Any) -> Any:
        """Get a fact, and say which one failed and how, if one does."""
        self._fact_depth += 1
        try:
            return super().get_fact(name_or_cls, *args, **kwargs)
        except FactFailedError:
            raise
        except PyinfraError as error:
            if self not in self.state.failed_hosts:
                raise
            raise FactFailedError(name_or_cls.name, self.last_fact_error or str(error)) from error
        finally:
            self._fact_depth -= 1

    def _get_temp_directory(self) -> str:
        """Ask each time: pyinfra would keep a supposed answer for the whole process."""
        config = self.state.config
        return str(config.TEMP_DIR or self.get_fact(TmpDir) or config.DEFAULT_TEMP_DIR)


class OneHostInventory(Inventory):
    """An inventory of one BatchedHost: operations of several hosts in one State get merged by position."""

    def __init__(self, name: str, data: dict[str, Any], *, session: Session, facts: Facts) -> None:
        self._session = session
        self._facts = facts
        super().__init__(([(name, data)], {}))

    def make_hosts_and_groups(self, names: list[tuple[str, dict[str, Any]]], groups: dict[str, Any]) -> None:  # noqa: ARG002
        """Make the one host."""
        ((name, data),) = names
        self.host_data[name] = data
        self.hosts = {name: BatchedHost(name, self, session=self._session, facts=self._facts)}

    @property
    def host(self) -> BatchedHost:
        """The one host."""
        (host,) = self.hosts.values()
        return host


class Connector(BaseConnector):
    """Runs commands and moves files over a Session; facts are answered by Facts, anything else invalidates
    them."""

    handles_execution = True

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """Part of pyinfra's interface; the inventory here makes its host itself."""
        yield name, {}, []

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,  # noqa: ARG002 - pyinfra's interface
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """Run a command, or answer it from memory when it belongs to a fact."""
        control = extract_control_arguments(arguments)
        accepted = control.get("_success_exit_codes") or [0]
        if not self.host.asking:
            completed = self._run(command, control, arguments)
            return completed.rc in accepted, _command_output(completed)

        answer = self._answer(command, control, arguments)
        if answer is None:
            return True, CommandOutput([])  # pyinfra takes this for the fact's default
        if answer.rc not in accepted:
            self.host.last_fact_error = f"exit code {answer.rc}: {_tail(answer.err or answer.out)}"
        return answer.rc in accepted, _command_output(answer)

    def put_file(
        self,
        filename_or_io: str | IO[Any],
        remote_filename: str,
        remote_temp_filename: str | None = None,  # noqa: ARG002 - the upload needs no staging in /tmp
        print_output: bool = False,  # noqa: ARG002
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,
    ) -> bool:
        """Upload a file under the operation's privilege: one round trip, atomic, never readable by others."""
        control = extract_control_arguments(arguments)
        with get_file_io(filename_or_io, "rb") as source:
            size = source.seek(0, 2)
            source.seek(0)
            command = StringCommand(receive_file_command(remote_filename, size))
            chunks = iter(lambda: source.read(_UPLOAD_CHUNK), b"")
            completed = self._run(command, control, arguments, stdin=chunks)
        self._note_failure(completed)
        return completed.rc == 0

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: str | IO[Any],
        remote_temp_filename: str | None = None,  # noqa: ARG002 - the download needs no copy in /tmp
        print_output: bool = False,  # noqa: ARG002
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,
    ) -> bool:
        """Download a file under the operation's privilege, in one round trip."""
        control = extract_control_arguments(arguments)
        command = StringCommand("cat", "--", QuoteString(remote_filename))
        completed = self._run(command, control, arguments)
        self._note_failure(completed)
        if completed.rc != 0:
            return False
        if isinstance(filename_or_io, str):
            Path(filename_or_io).write_bytes(completed.out)
        else:
            filename_or_io.write(completed.out)
        return True

    def _note_failure(self, completed: Completed) -> None:
        if completed.rc != 0:
            self.host.session.trouble = _tail(completed.err)

    def _run(
        self,
        command: StringCommand,
        control: dict[str, Any],
        arguments: dict[str, Any],
        stdin: Iterator[bytes] | None = None,
    ) -> Completed:
        if self.host.facts.supposing:
            raise TooEarlyError("the deploy runs a command while it is being prepared")
        session: Session = self.host.session
        pty, limit = bool(control.get("_get_pty")), int(control.get("_timeout") or session.deadline_s)
        started = time.monotonic()
        try:
            completed = session.run(
                _whole(_bounded(command, arguments.get("_shell_executable") or "sh", limit, pty=pty), arguments),
                stdin=stdin if stdin is not None else _stdin_bytes(control.get("_stdin")),
                seconds=limit + _GRACE_S,
                pty=pty,
                on_progress=self.host.on_progress,
            )
        finally:
            self.host.facts.forget()
        if completed.rc in _TIMED_OUT and time.monotonic() - started >= limit:
            session.trouble = f"no end after {limit} s"
        return completed

    def _answer(self, command: StringCommand, control: dict[str, Any], arguments: dict[str, Any]) -> Completed | None:
        question = self._question(command, control, arguments)
        facts: Facts = self.host.facts
        try:
            return facts.ask(question, self.host.current_op_hash)
        except TimeoutError as error:
            self.host.last_fact_error = str(error)
            raise

    def _question(self, command: StringCommand, control: dict[str, Any], arguments: dict[str, Any]) -> Question:
        inner = {key: arguments[key] for key in _INNER_KEYS if key in arguments}
        privilege = {key: arguments[key] for key in _PRIVILEGE_KEYS if arguments.get(key)}
        shell = arguments.get("_shell_executable") or "sh"
        bare = make_unix_command(command, _shell_executable=None, **inner)

        def wrap(other: str) -> str:
            return str(make_unix_command(StringCommand(other), **privilege).get_raw_value())

        return Question(
            command=_whole(command, arguments),
            argv=(shell, "-c", bare.get_raw_value()),
            privilege=repr(sorted(privilege.items())) if privilege else "",
            wrap=wrap,
            alone=any(control.get(key) for key in ("_stdin", "_get_pty")),
        )


def _bounded(command: StringCommand, shell: str, seconds: int, *, pty: bool) -> StringCommand:
    """The command, ended on the box itself when its time is over: closing a channel ends nothing there."""
    return StringCommand(
        *("timeout", "--kill-after=5", *(["--foreground"] if pty else []), str(seconds)),
        *(shell, "-c", QuoteString(command)),
    )


def _whole(command: StringCommand, arguments: dict[str, Any]) -> str:
    if arguments.get("_sudo_password") or arguments.get("_su_password"):
        # pyinfra would put the password into an environment and leave a script in /tmp.
        raise PyinfraError("sudo and su by password are not supported; let the ssh user sudo without one")
    return str(make_unix_command(command, **arguments).get_raw_value())


def _stdin_bytes(stdin: Any) -> Iterator[bytes]:
    """The `_stdin` argument as pyinfra sends it: each string is a line."""
    if not stdin:
        return
    for line in [stdin] if isinstance(stdin, str) else stdin:
        yield (line if line.endswith("\n") else f"{line}\n").encode()


def _command_output(completed: Completed) -> CommandOutput:
    """Lines as pyinfra makes them; bytes that are no UTF-8 become U+FFFD, where pyinfra would lose the
    rest."""
    return CommandOutput(
        [OutputLine("stdout", line) for line in _lines(completed.out)]
        + [OutputLine("stderr", line) for line in _lines(completed.err)]
    )


def _lines(output: bytes) -> list[str]:
    lines = output.decode(errors="replace").split("\n")
    return lines if lines[-1] else lines[:-1]


def _tail(output: bytes) -> str:
    return "\n".join(_lines(output)[-_LAST_LINES:]) or "no output"
