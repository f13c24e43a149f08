"""A QEMU that we started, and the two wires into it: to QEMU itself, and to the guest's seed agent.

The wires are pairs of sockets that QEMU inherits: they have no names that could be too long, or be left behind.
Standard library only.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from boxwright.lab.vm.qmp import Qmp

_ENTROPY_BYTES = 256
_ENDING_S = 10


class SilenceError(Exception):
    """The guest did not say in time what it should."""


class Vm:
    """A running QEMU. It dies with the process that started it."""

    def __init__(
        self,
        command: Callable[[int, int], Sequence[str]],
        *,
        environment: Mapping[str, str],
        console: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            command: From the descriptors of both wires, the command line of QEMU.
            environment: What it sees of ours.
            console: Where its console goes; None: to our own output.
        """
        ours_qmp, its_qmp = socket.socketpair()
        self.seed, its_seed = socket.socketpair()
        wires = (its_qmp.fileno(), its_seed.fileno())
        with console.open("ab") if console else nullcontext() as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command(*wires)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=wires,
                env=dict(environment),
            )
        its_qmp.close()
        its_seed.close()
        self.qmp = Qmp(ours_qmp)

    def end(self) -> None:
        """Cut the power."""
        self.process.terminate()
        try:
            self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def line(self, seconds: float, alive: Callable[[], None] = lambda: None) -> bytes:
        """What the seed agent says next.

        Args:
            seconds: How long to wait for it.
            alive: Called every second; raises what it finds wrong.

        Raises:
            SilenceError: It said nothing in time, or QEMU ended.
        """
        deadline, told = time.monotonic() + seconds, b""
        self.seed.settimeout(1)
        while not told.endswith(b"\n"):
            try:
                part = self.seed.recv(1 << 16)
            except TimeoutError:
                alive()
                if time.monotonic() > deadline:
                    raise SilenceError(f"the guest said nothing for {seconds:.0f} s") from None
            else:
                if not part:
                    raise SilenceError("QEMU has ended")
                told += part
        return told

    def give(self, archive: bytes) -> None:
        """Send the seed agent what makes the machine itself: files, the time, random numbers."""
        self.seed.settimeout(None)
        header: Mapping[str, Any] = {
            "bytes": len(archive),
            "time": time.time(),
            "entropy": base64.b64encode(os.urandom(_ENTROPY_BYTES)).decode(),
        }
        text = json.dumps(header).encode()
        self.seed.sendall(struct.pack(">Q", len(text)) + text + archive)
