"""The one place that prints: for a person at a terminal, for a plain log, or for a program as JSON lines."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from json import dumps
from typing import IO, TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from boxwright.console.error_view import error_fields, error_lines, error_panel
from boxwright.console.handover import Handover, handover_fields, handover_lines
from boxwright.console.run_view import RunView
from boxwright.console.symbols import Symbols, symbols_for
from boxwright.console.text import aligned, counted, harmless, one_line
from boxwright.errors import BadInputError, BoxwrightError

if TYPE_CHECKING:
    from pydantic import SecretStr

# Without a terminal nobody knows how wide the reader's page is: lines are never broken.
_UNBROKEN = 100_000


class _Screen(RichConsole):
    """A rich console that outlives its reader: `provision | head` must not stop a run half-way."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _forget(self.file)


def _forget(stream: IO[str]) -> None:
    """Point a stream whose reader has gone at nothing, so that the interpreter's last flush does not fail."""
    try:
        descriptor = stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


class Console:
    """Everything that a verb says.

    A terminal gets colours, tables and live lines; anything else gets plain lines that are never broken. In
    JSON mode standard output holds one JSON object a line, each with a `type`, and nothing else; errors are
    such lines, too. What hosts say is shown literally: neither markup nor escape sequences in it have any
    effect.

    Args:
        json: Write JSON lines for a program.
        stdout: Where to write; standard output unless told.
        stderr: Where errors go; standard error unless told.
        stdin: Where a person answers; standard input unless told.
        width: The columns of the terminal; measured unless told.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        stdin: IO[str] | None = None,
        width: int | None = None,
    ) -> None:
        self.json = json
        self._stdin = stdin
        self._lock = threading.Lock()
        self._out = _screen(stdout, width, is_error=False)
        self._err = _screen(stderr, width, is_error=True)
        self._view_is_live = False

    @property
    def live(self) -> bool:
        """Whether a person watches: standard output is a terminal that can redraw lines, without JSON."""
        out = self._out
        return not self.json and _is_terminal(out.file) and out.is_interactive and not out.is_dumb_terminal

    @property
    def asks(self) -> bool:
        """Whether a person is there to answer questions."""
        return not self.json and _is_terminal(self._out.file) and _is_terminal(self._stdin or sys.stdin)

    @property
    def symbols(self) -> Symbols:
        """The signs that standard output can show."""
        return symbols_for(self._out.encoding)

    @property
    def screen(self) -> RichConsole:
        """The rich console under standard output, for the views of this package."""
        return self._out

    def info(self, text: str) -> None:
        """Say a plain sentence."""
        self._say("info", text)

    def success(self, text: str) -> None:
        """Say that something went well."""
        self._say("success", text, sign=f"{self.symbols.done} ", style="green")

    def warning(self, text: str) -> None:
        """Say something that the reader should know and that stops nothing."""
        self._say("warning", text, sign="warning: ", style="yellow")

    def error(self, error: BoxwrightError) -> None:
        """Say what happened, where, why and what to do next, with the last ten lines of output."""
        if self.json:
            self.data("error", error_fields(error))
            return
        # Two consoles on one terminal would draw over each other while a view redraws its lines.
        screen = self._out if self._view_is_live else self._err
        if _is_terminal(screen.file):
            screen.print(error_panel(error, symbols_for(screen.encoding)))
        else:
            for line in error_lines(error):
                screen.print(Text(line), soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, kind: str) -> None:
        """Show a table; in JSON mode each row is one line of type `kind`, with a key for each column.

        A cell given as `Text` keeps its style; what it says must be harmless already.
        """
        if self.json:
            keys = [column.lower().replace(" ", "_") for column in columns]
            for row in rows:
                self.data(kind, dict(zip(keys, map(str, row), strict=True)))
            return
        cells = [[Text(one_line(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
        self.line()
        if title:
            self.line(title, style="bold")
        if not self.live:
            for line in aligned([list(columns), *([cell.plain for cell in row] for row in cells)]):
                self.line(f"  {line}")
            return
        table = Table(box=SIMPLE_HEAD, show_edge=False)
        for column in columns:
            table.add_column(Text(column), overflow="fold")
        for row in cells:
            table.add_row(*row)
        self.show(table)

    def confirm(self, question: str) -> bool:
        """Ask a person; anything but yes is no.

        Raises:
            BadInputError: Nobody is there to ask: no terminal, or JSON is asked for.
        """
        stdin = self._stdin or sys.stdin
        if not self.asks:
            raise BadInputError(
                f"'{one_line(question)}' needs a person or --yes.",
                hint="Run the command in a terminal to be asked, or add --yes to agree beforehand.",
            )
        self._out.print(Text(f"{one_line(question)} [y/N] ", style="bold"), end="", soft_wrap=True)
        self._out.file.flush()
        return stdin.readline().strip().lower() in {"y", "yes"}

    def run(
        self,
        title: str,
        hosts: Sequence[str],
        stages: Sequence[str],
        *,
        log: str = "",
        serials: Mapping[str, str] | None = None,
    ) -> RunView:
        """Return the view of a run, to be entered by `with`.

        Args:
            title: What the run does.
            hosts: Their names.
            stages: What each goes through.
            log: Where the run's full log is kept.
            serials: Serial numbers of hosts, by their names.
        """
        return RunView(self, title, hosts, stages, log=log, serials=serials)

    def handover(self, handover: Handover, *, passwords: Mapping[str, SecretStr] | None = None) -> None:
        """Say where a box's chat page and its API are and how to log in, and behind a finished run that it is ready.

        Args:
            handover: The facts.
            passwords: By the names of `handover.secret_commands`. Given only where somebody asked to see
                them: they replace the commands, and never appear in JSON.
        """
        if self.json:
            self.data("handover", handover_fields(handover))
            return
        if handover.failed_checks:
            self.warning(
                f"{handover.host} is provisioned and not ready: {counted(handover.failed_checks, 'check')} failed."
            )
        elif handover.stage_seconds:  # only a run that has finished can say so
            self.success(f"{handover.host} is ready.")
        else:
            self.line(f"{handover.host}:")
        for line in handover_lines(handover, passwords or {}):
            self.line(line)

    def data(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Write one JSON line of type `kind`; does nothing for a person."""
        if not self.json:
            return
        if "type" in payload:
            raise ValueError(f"a {kind} line names its kind 'type'; its payload cannot have that key")
        line = dumps({"type": kind, **payload}, default=str) + "\n"
        stream = self._out.file
        with self._lock:
            if self._out.quiet:
                return
            try:
                stream.write(line)
                stream.flush()
            except BrokenPipeError:
                self._out.on_broken_pipe()

    def line(self, text: str = "", *, style: str = "") -> None:
        """Write one line of words for a person; does nothing in JSON mode."""
        self.show(Text(harmless(text), style=style))

    def show(self, renderable: RenderableType) -> None:
        """Draw something for a person; does nothing in JSON mode. Text is left to the terminal to break."""
        if not self.json:
            self._out.print(renderable, soft_wrap=isinstance(renderable, Text))

    def view_is_live(self, live: bool) -> None:
        """Note that a view has begun or ceased to redraw lines on the terminal."""
        self._view_is_live = live

    def _say(self, level: str, text: str, *, sign: str = "", style: str = "") -> None:
        if self.json:
            self.data("message", {"level": level, "text": text})
            return
        self.show(Text.assemble((sign, style), harmless(text)))


def _is_terminal(stream: IO[str]) -> bool:
    return not stream.closed and stream.isatty()


def _screen(stream: IO[str] | None, width: int | None, *, is_error: bool) -> _Screen:
    stream = stream or (sys.stderr if is_error else sys.stdout)
    if isinstance(stream, io.TextIOWrapper):
        # A host may say what this terminal's encoding lacks. That is no reason to fail.
        stream.reconfigure(errors="backslashreplace")
    if width is None and not _is_terminal(stream):
        width = _UNBROKEN
    return _Screen(file=stream, stderr=is_error, width=width, markup=False, emoji=False, highlight=False, safe_box=True)
