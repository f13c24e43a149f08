"""A deploy file becomes a pyinfra State for one host, with as few round trips as its questions allow."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pyinfra
from pyinfra.api import Config, State
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import StateOperationHostData, StateStage

from boxwright.engines.pyinfra import contexts
from boxwright.engines.pyinfra.facts import Facts
from boxwright.engines.pyinfra.session import Session
from boxwright.engines.pyinfra.target import BatchedHost, OneHostInventory, TooEarlyError
from boxwright.errors import EngineError, UnreachableError

_MOST_ROUNDS = 12  # a deploy that still asks new questions after so many batches is asked one by one

_PYINFRA = Path(pyinfra.__file__).parent
_ENGINE = Path(__file__).parent


@dataclass(frozen=True)
class Operation:
    """One prepared operation of one host."""

    op_hash: str
    name: str
    data: StateOperationHostData

    @property
    def meta(self) -> OperationMeta:
        """pyinfra's record of how the operation fares."""
        return self.data.operation_meta

    @property
    def condition_holds(self) -> bool:
        """Whether the operation's `_if`, if it has one, lets it run."""
        condition = self.data.global_arguments.get("_if")
        conditions: list[Callable[[], bool]] = [condition] if callable(condition) else condition or []
        return all(holds() for holds in conditions)


class _HostState(State):
    """A State that looks for changes itself, so that one operation's failure on assumed answers stays its own.

    An operation that fails for want of an answer must not keep the ones after it from asking theirs.
    """

    def should_check_for_changes(self) -> bool:
        """Tell pyinfra not to."""
        return False

    def set_op_data_for_host(self, host: BatchedHost, op_hash: str, op_data: StateOperationHostData) -> None:
        """Take an operation in, and unless it is about to run anyway, find out whether it would change anything."""
        super().set_op_data_for_host(host, op_hash, op_data)
        if self.is_executing:
            return
        try:
            changes = next(iter(op_data.command_generator()), None) is not None
        except TooEarlyError:
            raise
        except Exception:
            if not host.facts.supposed:
                raise
            changes = False
        op_data.operation_meta._maybe_is_change = changes


class Prepared:
    """A State with the operations of one deploy file on one host, not run yet."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.host: BatchedHost = state.inventory.host

    def operations(self) -> Iterator[Operation]:
        """The operations, in order."""
        for op_hash in self.state.get_op_order():
            yield Operation(
                op_hash,
                _tidy(next(iter(self.state.get_op_meta(op_hash).names))),
                self.state.get_op_data_for_host(self.host, op_hash),
            )


def prepare(session: Session, facts: Facts, data: dict[str, Any], deploy: Path) -> Prepared:
    """Prepare `deploy` for the host behind `session`.

    The file is executed several times: first supposing that the box answers nothing, then with the answers to
    what that asked, until it asks nothing new. The last execution rests on true answers only, so its State is
    the real one.

    Raises:
        EngineError: The deploy file raised, or a fact failed.
        UnreachableError: The connection was lost.
    """
    for _ in range(_MOST_ROUNDS):
        state, error = _attempt(session, facts, data, deploy, supposing=True)
        if not facts.supposed:
            break
        if not facts.learn():
            error = TooEarlyError()
            break
    else:
        error = TooEarlyError()
    if isinstance(error, TooEarlyError):
        state, error = _attempt(session, facts, data, deploy, supposing=False)
    if isinstance(error, UnreachableError):
        raise error
    if error is not None:
        raise _deploy_error(error, deploy) from error
    prepared = Prepared(state)
    facts.end({operation.op_hash: operation.meta.will_change for operation in prepared.operations()})
    return prepared


def _attempt(
    session: Session, facts: Facts, data: dict[str, Any], deploy: Path, *, supposing: bool
) -> tuple[State, Exception | None]:
    """Execute the deploy file once in a fresh State."""
    inventory = OneHostInventory(session.host.name, data, session=session, facts=facts)
    state = _HostState(inventory, Config())
    state.cwd = str(Path.cwd())
    state.current_deploy_filename = state.current_exec_filename = str(deploy)
    state.set_stage(StateStage.Prepare)
    state.activate_host(inventory.host)
    inventory.host.connected = True
    # A deploy file may set `config.SUDO` and the like; it gets a copy, as from the pyinfra command.
    contexts.enter(state, config=state.config.copy())
    facts.begin(supposing=supposing)
    try:
        exec(_code(deploy), {"__file__": str(deploy)})  # noqa: S102 - running deploy files is what this does
    except Exception as error:  # a deploy file may raise anything; prepare() decides what it means
        return state, error
    finally:
        facts.supposing = False
    return state, None


@cache
def _code(deploy: Path) -> CodeType:
    return compile(deploy.read_text(encoding="utf-8"), str(deploy), "exec")


def _deploy_error(error: Exception, deploy: Path) -> EngineError:
    if isinstance(error, SyntaxError):
        return EngineError(
            f"{type(error).__name__}: {error.msg}", where=f"{_shown(Path(error.filename or deploy))}:{error.lineno}"
        )
    message = str(error) if isinstance(error, pyinfra.api.exceptions.PyinfraError) else _described(error)
    return EngineError(message, where=_location(error, deploy))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _location(error: Exception, deploy: Path) -> str:
    """The innermost line of the deploy's own code, which may stand in a module that it imports."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_deploy_code(Path(frame.filename), deploy)]
    return f"{_shown(Path(own[-1].filename))}:{own[-1].lineno}" if own else _shown(deploy)


def _is_deploy_code(path: Path, deploy: Path) -> bool:
    installed = (_ENGINE, _PYINFRA, Path(sys.prefix))
    near = path.is_relative_to(deploy.parent) or path.is_relative_to(Path.cwd())
    return near and not any(path.is_relative_to(folder) for folder in installed)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _tidy(name: str) -> str:
    """`Deploy | Operation` without the empty parts that `host.when()` leaves."""
    return " | ".join(part.strip() for part in name.split(" | ") if part.strip())
