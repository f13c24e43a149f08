"""Machines of a batch that hand files on: who has what, by notes on the controller, and a door to who has it.

A door is a transient unit on that machine: it serves one file, to one address, for as long as a session of ssh lasts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.model.transient_unit import CLOSED
from deploys.operations.files import TEMPLATES
from deploys.operations.shelf import locked

PORT = 8874
UNIT = "boxwright-hand-on"
_OPENS_S = 20.0  # a login, and the start of a unit
_CLOSES_S = 10.0
_MOST_SAID = 64 << 10  # bytes before a door is open: a greeting, or why it is not

_MAY_NOT = (
    *CLOSED,
    "PrivateDevices=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6",
    "InaccessiblePaths=-/etc/boxwright -/var/lib/boxwright",
)
# What serves on that machine goes before it.
_BEHIND_OTHERS = ("CPUWeight=20", "IOWeight=20", "Nice=10", "OOMScoreAdjust=1000", "TasksMax=32", "MemorySwapMax=0")

# Where the role firewall closed the machine, its table lets one address in, and no trace of that is left afterwards.
_TABLE = "inet boxwright input"
_LET_IN = "nft list chain {table} >/dev/null 2>&1 || exit 0; exec nft insert rule {table} {match} accept comment {unit}"
_SHUT = (
    'nft -a list chain {table} 2>/dev/null | grep -F {unit} | grep -o "handle [0-9]*" | '
    "xargs -r -n 2 nft delete rule {table}"
)


class Registry:
    """Which machines of a batch have which files whole, for one run.

    Engines of several machines use it at the same time, from processes of their own: what dies lets go of its locks.

    Args:
        folder: Of the controller; it is made where it is missing.
        name: Of the machine on whose behalf this is asked.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, path: str) -> None:
        """Note that this machine has a file, verified."""
        folder = self._folder / _key(path)
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / self.name).touch(mode=0o600)

    def holders(self, path: str) -> list[str]:
        """The other machines that have it."""
        folder = self._folder / _key(path)
        return sorted(one.name for one in folder.iterdir() if one.name != self.name) if folder.is_dir() else []

    def first(self, path: str) -> contextlib.AbstractContextManager[bool]:
        """Be the one that brings a file into the batch, if nobody is; enters with whether this is so."""
        return self._alone(f"first-{_key(path)}")

    def asking(self, peer: str) -> contextlib.AbstractContextManager[bool]:
        """Be the one whom a machine hands something to, if nobody is; enters with whether this is so."""
        return self._alone(f"asking-{peer}")

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[bool]:
        with (self._folder / f"{what}.lock").open("a", encoding="utf-8") as lock:
            yield locked(lock.fileno())


def _key(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:16]


class ClosedError(Exception):
    """A machine does not hand a file on; the message says why."""


@dataclass(frozen=True)
class Door:
    """A file of one machine, for another.

    Attributes:
        peer: Who has it: `name`, `address`, `enter` and `sudo`.
        path: Of the file there.
        caller: Address of the machine that is to get it.
        seconds: After so many it closes, whatever happens.
    """

    peer: dict[str, Any]
    path: str
    caller: str
    seconds: int

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """Have the file served; enters with its address.

        Raises:
            ClosedError: It is not served, or not in time.
        """
        remote = f"bash -c {shlex.quote(self.script())}"
        command = [*self.peer["enter"], f"sudo -n -- {remote}" if self.peer["sudo"] else remote]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert process.stdin  # noqa: S101  piped
        assert process.stdout  # noqa: S101  piped
        try:
            self._await(process.stdout.fileno())
            host = f"[{self.peer['address']}]" if ":" in self.peer["address"] else self.peer["address"]
            yield f"http://{host}:{PORT}/{_key(self.path)}"
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()  # the file is served for as long as this is open
            try:
                process.wait(_CLOSES_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def script(self) -> str:
        """What opens it there, as root."""
        family = "ip6" if ":" in self.caller else "ip"
        match = f"{family} saddr {self.caller} tcp dport {PORT}"
        words = {"table": _TABLE, "match": match, "unit": UNIT}
        properties = [
            *_MAY_NOT,
            *_BEHIND_OTHERS,
            f"RuntimeMaxSec={self.seconds}",
            "TimeoutStopSec=5",
            "IPAddressDeny=any",
            f"IPAddressAllow={self.caller}",
            f"ExecStartPre=+/bin/sh -c '{_LET_IN.format(**words)}'",
            f"ExecStopPost=+/bin/sh -c '{_SHUT.format(**words)}'",
        ]
        program = (TEMPLATES / "models/serve_file.py").read_text(encoding="utf-8")
        return "exec " + shlex.join(
            [
                *("systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--service-type=exec", f"--unit={UNIT}"),
                f"--description=Boxwright hands {self.path} on to {self.caller}",
                *(f"--property={one}" for one in properties),
                *("python3", "-I", "-S", "-c", program),
                *(self.path, _key(self.path), self.peer["address"], str(PORT), self.caller),
            ]
        )

    def _await(self, output: int) -> None:
        said, until = b"", time.monotonic() + _OPENS_S
        while b"open" not in said.split(b"\n")[:-1]:
            if len(said) > _MOST_SAID:
                raise ClosedError(f"{self.peer['name']} says something else, and no end of it")
            ready, _, _ = select.select([output], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise ClosedError(f"{self.peer['name']} did not serve it within {_OPENS_S:.0f} s")
            piece = os.read(output, 4096)
            if not piece:
                last = said.decode(errors="replace").strip().rpartition("\n")[2]
                raise ClosedError(f"{self.peer['name']} does not serve it: {last or 'ssh ended'}")
            said += piece
