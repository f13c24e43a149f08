"""A dry run: tells what the prepared operations would do, and changes nothing."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.command import FileUploadCommand, FunctionCommand, PyinfraCommand
from pyinfra.api.util import get_file_io
from pyinfra.connectors.util import CommandOutput
from pyinfra.facts.files import File, FileContents

from boxwright.engines.events import Outcome
from boxwright.engines.pyinfra.prepare import Operation, Prepared
from boxwright.engines.pyinfra.report import Reporter, Verdict
from boxwright.errors import UnreachableError

_NOT_SHOWN = "[not shown: this file holds secrets]"
_LARGEST_DIFF = 256 * 1024  # bytes of a new file that is still shown line by line


def preview(prepared: Prepared, report: Reporter) -> None:
    """Report for each operation whether it would change the box, with a diff of files or the list of
    commands.

    Raises:
        UnreachableError: The connection was lost while current files were read.
    """
    for operation in prepared.operations():
        prepared.host.facts.advance(operation.op_hash)
        report.started(operation.name)
        report.finished(operation.name, _foresee(prepared, operation, report))


def _foresee(prepared: Prepared, operation: Operation, report: Reporter) -> Verdict:
    """Foresee one operation, and mark it as done so that conditions like `_if=other.did_change` can be
    told."""
    try:
        runs = operation.condition_holds
    except Exception as error:
        _mark_done(operation, [])
        return Verdict(Outcome.CHANGED, message=f"only a run can tell whether its condition holds ({error})")
    if not runs:
        _mark_done(operation, [])
        return Verdict(Outcome.SKIPPED)
    if not operation.meta.will_change:
        _mark_done(operation, [])
        return Verdict(Outcome.OK)
    commands, complete = _commands(operation)
    _mark_done(operation, commands)
    message = "" if complete else "its later steps depend on its first ones and are not listed"
    return Verdict(Outcome.CHANGED, diff=_diff(prepared, operation, commands, report), message=message)


def _mark_done(operation: Operation, commands: list[PyinfraCommand]) -> None:
    operation.meta.set_complete(success=True, commands=commands, combined_output=CommandOutput([]))


def _commands(operation: Operation) -> tuple[list[PyinfraCommand], bool]:
    """What the operation would do; incomplete when it looks at the effect of its own first commands."""
    commands: list[PyinfraCommand] = []
    try:
        commands.extend(operation.data.command_generator())
    except UnreachableError:
        raise
    except Exception:
        return commands, False
    return commands, True


def _diff(prepared: Prepared, operation: Operation, commands: list[PyinfraCommand], report: Reporter) -> str:
    parts = []
    for command in commands:
        if isinstance(command, FileUploadCommand):
            parts.append(_file_diff(prepared, operation, command, report))
        elif isinstance(command, FunctionCommand):
            parts.append(f"+ python: {command.function.__name__}\n")
        else:
            parts.append(f"+ {command}\n")
    return "".join(parts)


@dataclass(frozen=True)
class _Text:
    label: str
    lines: list[str]


def _file_diff(prepared: Prepared, operation: Operation, command: FileUploadCommand, report: Reporter) -> str:
    if getattr(command, "secret", False):
        return f"+ write {command.dest} {_NOT_SHOWN}\n"
    wanted = _wanted_text(command)
    if wanted is None:
        return f"+ upload {command.dest} (binary or large)\n"
    current = _current_text(prepared, operation, command.dest)
    current = _without_secrets(current, wanted, report)
    lines = difflib.unified_diff(current.lines, wanted.lines, current.label, wanted.label, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _without_secrets(current: _Text, wanted: _Text, report: Reporter) -> _Text:
    """What stands in a file now, without what may be secret; all of it where no secret belongs into the file.

    The secrets there may be of another controller, or from before they were changed, and nobody here knows them. So a
    line is shown that is to stay, or that only gives a name another value, whose value is no secret.
    """
    secret = [report.holds_secret(line) for line in wanted.lines]
    if not any(secret):
        return current
    plain = {line for line, hidden in zip(wanted.lines, secret, strict=True) if not hidden}
    names = {_name_in(line) for line in plain} - {""}
    shown = [line if line in plain or _name_in(line) in names else _NOT_SHOWN for line in current.lines]
    return _Text(current.label, shown)


def _name_in(line: str) -> str:
    """The name that a line of settings gives a value; empty where it does not look like one."""
    found = re.match(r"\s*[\w.\"'-]+\s*[=:]", line)
    return "".join(found[0].split()) if found else ""


def _wanted_text(command: FileUploadCommand) -> _Text | None:
    with get_file_io(command.src, "rb") as source:
        content: bytes = source.read(_LARGEST_DIFF + 1)
    if len(content) > _LARGEST_DIFF or b"\0" in content:
        return None
    return _Text(str(Path(command.dest)), content.decode(errors="replace").splitlines())


def _current_text(prepared: Prepared, operation: Operation, dest: str) -> _Text:
    privilege: dict[str, Any] = {
        key: operation.data.global_arguments[key]
        for key in ("_sudo", "_sudo_user", "_su_user", "_doas", "_doas_user")
        if operation.data.global_arguments.get(key)
    }
    if not prepared.host.get_fact(File, path=dest, **privilege):
        return _Text("/dev/null", [])
    contents = prepared.host.get_fact(FileContents, path=dest, **privilege)
    return _Text(dest, contents or [])
