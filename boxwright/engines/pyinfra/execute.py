"""Runs the prepared operations of one deploy on one host, and tells how each fared."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import StateStage

from boxwright.engines.events import Outcome
from boxwright.engines.pyinfra import contexts
from boxwright.engines.pyinfra.facts import Facts
from boxwright.engines.pyinfra.prepare import Operation, Prepared
from boxwright.engines.pyinfra.report import Reporter, Verdict
from boxwright.errors import UnreachableError

_LAST_LINES = 10


def execute(prepared: Prepared, report: Reporter) -> Outcome:
    """Run the operations in order; the first that fails ends the deploy.

    Returns:
        OK, or FAILED when an operation failed. Both are reported already.

    Raises:
        UnreachableError: The connection was lost; the operation at work is reported already.
    """
    prepared.state.set_stage(StateStage.Execute)
    prepared.state.is_executing = True
    contexts.enter(prepared.state, config=None)
    for operation in prepared.operations():
        prepared.host.facts.advance(operation.op_hash)
        report.started(operation.name)
        prepared.host.on_progress = functools.partial(report.progress, operation.name)
        verdict = _run(prepared, operation)
        report.finished(operation.name, verdict)
        if verdict.outcome is Outcome.UNREACHABLE:
            raise UnreachableError(verdict.message, where=prepared.host.name)
        if verdict.outcome is Outcome.FAILED:
            return Outcome.FAILED
    return Outcome.OK


def _run(prepared: Prepared, operation: Operation) -> Verdict:
    host, session = prepared.host, prepared.host.session
    session.trouble = ""
    started = time.monotonic()
    watch = _Watch(host.facts)
    operation.data.command_generator = watch.commands(operation.data.command_generator)

    def verdict(outcome: Outcome, message: str = "", output: str = "") -> Verdict:
        return Verdict(outcome, message=message, output=output, seconds=time.monotonic() - started)

    try:
        runs = operation.condition_holds
        succeeded = run_host_op(prepared.state, host, operation.op_hash)
    except UnreachableError as error:
        return verdict(Outcome.UNREACHABLE, error.message)
    except Exception as error:
        return verdict(Outcome.FAILED, str(error) or type(error).__name__)
    if not succeeded and not session.alive:
        return verdict(Outcome.UNREACHABLE, f"the connection to {session.host.address} was lost")
    if not succeeded:
        return verdict(Outcome.FAILED, watch.callback_error or session.trouble, _output(prepared, operation))
    if operation.meta.did_error():
        return verdict(Outcome.OK, "failed, and its errors are ignored", _output(prepared, operation))
    return verdict(_achieved(operation, runs=runs))


def _achieved(operation: Operation, *, runs: bool) -> Outcome:
    if not runs:
        return Outcome.SKIPPED
    return Outcome.CHANGED if operation.meta.did_change() else Outcome.OK


def _output(prepared: Prepared, operation: Operation) -> str:
    """The last lines that the failing commands printed, those of operations nested in a callback included."""
    lines: list[str] = []
    for op_hash, data in prepared.state.ops[prepared.host].items():
        if operation.op_hash in (op_hash, data.parent_op_hash) and (data.operation_meta.is_complete()):
            lines += data.operation_meta.stdout_lines + data.operation_meta.stderr_lines
    return "\n".join(lines[-_LAST_LINES:])


class _Watch:
    """Follows the commands of one operation: each one makes known answers stale.

    A Python callback may change the box in ways that the connection never sees, and may wait for a fact to
    change, so while one runs every fact is asked afresh.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.callback_error = ""

    def commands(self, generator: Callable[[], Iterator[PyinfraCommand]]) -> Callable[[], Iterator[PyinfraCommand]]:
        """Wrap an operation's command generator."""

        def watched() -> Iterator[PyinfraCommand]:
            for command in generator():
                if isinstance(command, FunctionCommand):
                    command.function = self._watched(command.function)
                yield command
                self._facts.forget()

        return watched

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self._live():
                try:
                    return function(*args, **kwargs)
                except Exception as error:
                    self.callback_error = f"{type(error).__name__}: {error}"  # pyinfra only logs it
                    raise

        # pyinfra tells by the signature whether to pass `state, host`.
        run.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return run

    @contextmanager
    def _live(self) -> Iterator[None]:
        self._facts.live = True
        try:
            yield
        finally:
            self._facts.live = False
            self._facts.forget()
