"""QEMU's own protocol, as far as a twin needs it: one command at a time over a socket. Standard library only."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

_PAUSE_S = 0.05
_ANSWER_S = 20


class QmpError(Exception):
    """QEMU refused a command, or is gone."""


class Qmp:
    """A conversation with one QEMU."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(_ANSWER_S)
        self._answers = self._socket.makefile("rb")
        self._answer()  # the greeting
        self.run("qmp_capabilities")

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.close()

    def run(self, command: str, **arguments: object) -> Any:
        """Run a command and return what QEMU says; events that come in between are dropped.

        Raises:
            QmpError: QEMU refused it, or is gone.
        """
        order: Mapping[str, object] = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{command}: {error}") from error
        while True:
            answer = self._answer()
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error'].get('desc', answer['error'])}")
            if "return" in answer:
                return answer["return"]

    def status(self) -> str:
        """The state of the machine: running, paused, internal-error, …"""
        return str(self.run("query-status")["status"])

    def shutdown_reason(self) -> str:
        """Why a QEMU that has ended did so: guest-reset where the guest wanted to reboot, guest-shutdown, …"""
        reason = ""
        with suppress(OSError, ValueError):
            for line in self._answers:
                event = json.loads(line)
                if event.get("event") == "SHUTDOWN":
                    reason = str(event["data"].get("reason", ""))
        return reason

    def migrated(self, seconds: float) -> None:
        """Wait for the end of a migration, this way or that.

        Raises:
            QmpError: It failed, or did not end in time.
        """
        deadline = time.monotonic() + seconds
        while (told := self.run("query-migrate")).get("status") != "completed":
            if told.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
                raise QmpError(f"migration: {told.get('status')}: {told.get('error-desc', 'no end in time')}")
            time.sleep(_PAUSE_S)

    def _answer(self) -> Any:
        try:
            line = self._answers.readline()
        except OSError as error:
            raise QmpError(f"no answer: {error}") from error
        if not line:
            raise QmpError("QEMU has ended")
        return json.loads(line)
