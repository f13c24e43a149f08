"""One ssh connection per host, opened once, with pinned host keys; and Python programs run through it."""

from __future__ import annotations

import json
import shlex
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.errors import BoxwrightError, UnreachableError
from boxwright.transport import host_keys
from boxwright.verification.job import VerifyHost

_SOCKET = "master"
# The program travels on standard input with its data: an argument would be seen by every user of the box.
_BOOTSTRAP = (
    "import json, sys; job = json.load(sys.stdin); "
    "exec(compile(job['program'], 'boxwright-verify', 'exec'), {'__name__': '__main__', 'DATA': job['data']})"
)


def write_config(host: VerifyHost, directory: Path) -> Path:
    """Write the ssh configuration for one host into a private directory and return its path."""
    options = {
        "HostName": host.address,
        "Port": str(host.port),
        "User": host.user,
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        "ControlPath": _quoted(directory / _SOCKET),
    }
    if host.key is not None:
        options |= {"IdentityFile": _quoted(host.key), "IdentitiesOnly": "yes"}
    if host.known_hosts is not None:
        options |= {"UserKnownHostsFile": _quoted(host.known_hosts), "GlobalKnownHostsFile": "/dev/null"}
    lines = [f"Host {host.name}", *(f"  {key} {value}" for key, value in options.items())]
    path = directory / "ssh_config"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _quoted(path: Path) -> str:
    """A path as ssh's configuration reads it: quoted, with its own % tokens disarmed."""
    return '"' + str(path).replace("%", "%%") + '"'


def close_connections(directory: Path) -> None:
    """End every connection whose socket lies under a directory, such as one that a killed process left."""
    for socket in directory.rglob(_SOCKET):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-F", "/dev/null", "-S", str(socket), "-O", "exit", "box"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
                check=False,
            )


@dataclass(frozen=True, slots=True)
class BoxShell:
    """Runs programs on a box with root's rights.

    Attributes:
        host: The box.
        config: What `write_config` returned.
    """

    host: VerifyHost
    config: Path

    def argv(self, command: str) -> list[str]:
        """The ssh command that runs one shell command on the box."""
        remote = f"sudo -n -- sh -c {shlex.quote(command)}" if self.host.become else command
        return ["ssh", "-F", str(self.config), self.host.name, remote]

    def open(self) -> None:
        """Open the connection that everything after it shares.

        Raises:
            UnreachableError: The box does not answer, or not as the one that it should be.
        """
        try:
            done = subprocess.run(
                self.argv("true"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError("no answer over ssh within 30 s", where=self.host.name) from None
        if done.returncode != 0:
            host = self.host
            wrong_key = host_keys.trouble(done.stderr, host.known_hosts, host.name, host.address, host.port)
            if wrong_key:
                raise wrong_key
            raise UnreachableError(
                f"ssh failed: {done.stderr.strip() or f'exit code {done.returncode}'}", where=self.host.name
            )

    def python(self, program: str, data: Any, *, timeout_s: float = 100) -> Any:
        """Run a Python program on the box and return what it printed, read as JSON.

        Args:
            program: The source; it finds its input in the global name `DATA`.
            data: Anything that JSON can say. Secrets are safe here.
            timeout_s: When to give up.

        Raises:
            BoxwrightError: The program failed or did not end in time.
        """
        try:
            done = subprocess.run(
                self.argv(f"python3 -c {shlex.quote(_BOOTSTRAP)}"),
                input=json.dumps({"program": program, "data": data}),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BoxwrightError(f"no result within {timeout_s:g} s", where=self.host.name) from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise BoxwrightError(f"a program on the box failed: {last}", where=self.host.name, output=done.stderr)
        return json.loads(done.stdout)
