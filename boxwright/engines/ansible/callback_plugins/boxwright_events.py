"""Ansible's results as Boxwright events, one JSON line each on standard output."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from ansible.plugins.callback import CallbackBase

from boxwright.engines.environment import end_with_parent
from boxwright.engines.events import Event, Outcome, Phase

DOCUMENTATION = """
name: boxwright_events
type: stdout
short_description: one JSON event a line
description: Writes what happens to each task of each host as one JSON object a line.
"""

_OUTPUT_LINES = 40


class CallbackModule(CallbackBase):
    """Writes an event when a task starts on a host and when it ends there."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "boxwright_events"

    def __init__(self) -> None:
        super().__init__()
        end_with_parent()
        self._started: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host begins a task."""
        self._started[host.get_name(), task._uuid] = time.monotonic()
        self._emit(Event(host=host.get_name(), stage=_stage(task), resource=_resource(task), phase=Phase.STARTED))

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task ended well on a host."""
        changed = bool(result._result.get("changed"))
        self._finish(result, Outcome.CHANGED if changed else Outcome.OK)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task's condition does not hold on a host."""
        self._finish(result, Outcome.SKIPPED)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed on a host."""
        self._finish(result, Outcome.OK if ignore_errors else Outcome.FAILED)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host cannot be reached any more."""
        self._finish(result, Outcome.UNREACHABLE)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """The inventory is empty, which is an error of ours."""
        sys.stderr.write("no host in the inventory\n")

    def _finish(self, result: Any, outcome: Outcome) -> None:
        host, task, data = result._host.get_name(), result._task, result._result
        if task.action.endswith("include_role") and outcome is not Outcome.FAILED:
            return
        began = self._started.pop((host, task._uuid), None)
        failed = outcome in (Outcome.FAILED, Outcome.UNREACHABLE)
        self._emit(
            Event(
                host=host,
                stage=_stage(task),
                resource=_resource(task),
                phase=Phase.FINISHED,
                outcome=outcome,
                diff="".join(_diffs(data, str(task.args.get("dest", "")))),
                message=_message(data) if failed else "",
                output=_output(data) if failed else "",
                seconds=time.monotonic() - began if began is not None else 0.0,
            )
        )

    def _emit(self, event: Event) -> None:
        sys.stdout.write(event.model_dump_json() + "\n")
        sys.stdout.flush()


def _stage(task: Any) -> str:
    """The outermost role that a task is part of: a role may include others, and a stage is one role."""
    name, node = "ansible", task
    while node is not None:
        role = getattr(node, "_role", None)
        name = role.get_name() if role else name
        node = getattr(node, "_parent", None)
    return str(name)


def _resource(task: Any) -> str:
    return str(task.name or task.action)


def _broken(data: dict[str, Any]) -> dict[str, Any]:
    """The result that tells what went wrong: of a loop, that of the first item which failed."""
    return next((item for item in data.get("results", []) if item.get("failed") or item.get("unreachable")), data)


def _message(data: dict[str, Any]) -> str:
    broken = _broken(data)
    # Ansible itself takes the text out of results under `no_log`; the task's own `no_log` may be a template.
    if "censored" in broken:
        return "it failed; its output is secret"
    return str(broken.get("msg") or data.get("msg") or "it failed").strip()


def _output(data: dict[str, Any]) -> str:
    broken = _broken(data)
    parts = [str(broken.get(stream, "")) for stream in ("stdout", "stderr", "module_stdout", "module_stderr")]
    lines = [line for part in parts for line in part.splitlines()]
    return "\n".join(lines[-_OUTPUT_LINES:])


def _diffs(data: dict[str, Any], destination: str) -> Iterator[str]:
    """Unified-diff text of a result and of the results of its loop. `destination` may be a template."""
    for item in data.get("results", []):
        if isinstance(item, dict):
            yield from _diffs(item, str(item.get("_ansible_item_label", "")))
    diff = data.get("diff")
    for part in diff if isinstance(diff, list) else [diff]:
        if not isinstance(part, dict):
            continue
        if "prepared" in part:
            yield str(part["prepared"])
        elif "before" in part or "after" in part:
            known = destination if destination.startswith("/") else str(data.get("path") or data.get("dest") or "")
            yield from _unified(part, known)


def _unified(part: dict[str, Any], place: str) -> Iterator[str]:
    sides = []
    for side in ("before", "after"):
        value = part.get(side) or ""
        sides.append(value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True) + "\n")
    before, after = (text.splitlines(keepends=True) for text in sides)
    # A template's second header is a temporary file of the controller: its folder says nothing to a reader, and would
    # make the same change of two hosts look like two.
    after_header = str(part.get("after_header") or "")
    if "/ansible-local-" in after_header:
        after_header = after_header.rpartition("/")[2].removesuffix(".j2")
    name = str(part.get("before_header") or place or after_header)
    for line in difflib.unified_diff(before, after, f"{name} now", f"{name} as wanted", n=2):
        yield line if line.endswith("\n") else line + "\n"
