"""A private ssh server on 127.0.0.1 that runs commands in a real shell, and a way to run the worker against it.

The server is paramiko's, so that the tests need no sshd; the lab tests use OpenSSH. Commands run as the user of the
tests: deploy files in the tests keep to a temporary folder.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from boxwright.engines.events import Event, Outcome, Phase

REPO = Path(__file__).parents[3]


class _Interface(paramiko.ServerInterface):
    def __init__(self, server: SshServer) -> None:
        self._server = server

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        known = key.get_base64() == self._server.user_key.get_base64()
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command.decode())
        threading.Thread(target=self._server.execute, args=(channel, command), daemon=True).start()
        return True


class SshServer:
    """Listens on a free port; `commands` records what was asked to run, one entry for each round trip."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.commands: list[str] = []
        self.environment: dict[str, str] | None = None
        self.user_key = paramiko.ECDSAKey.generate()
        self._host_key = paramiko.ECDSAKey.generate()
        self.further_host_keys: list[paramiko.PKey] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.key_file = folder / "key"
        self.user_key.write_private_key_file(str(self.key_file))
        self.known_hosts = folder / "known_hosts"
        line = f"[127.0.0.1]:{self.port} {self._host_key.get_name()} {self._host_key.get_base64()}\n"
        self.known_hosts.write_text(line)
        self._transports: list[paramiko.Transport] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            for key in (self._host_key, *self.further_host_keys):
                transport.add_server_key(key)
            transport.start_server(event=threading.Event(), server=_Interface(self))
            self._transports.append(transport)

    def execute(self, channel: paramiko.Channel, command: bytes) -> None:
        """Run one command, feeding and draining all its streams at once."""
        pipe = subprocess.PIPE
        argv = ["/bin/sh", "-c", command]
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment)

        def feed() -> None:
            try:
                while data := channel.recv(65536):
                    process.stdin.write(data)
                process.stdin.close()
            except OSError:
                pass

        def drain(source: Any, send: Callable[[bytes], None]) -> None:
            try:
                while data := source.read1(65536):
                    send(data)
            except OSError:
                process.kill()

        threads = [
            threading.Thread(target=drain, args=(process.stdout, channel.sendall), daemon=True),
            threading.Thread(target=drain, args=(process.stderr, channel.sendall_stderr), daemon=True),
        ]
        threading.Thread(target=feed, daemon=True).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rc = process.wait()
        try:
            channel.send_exit_status(rc if rc >= 0 else 128 - rc)
            channel.close()
        except (OSError, EOFError):
            pass

    def hang_up(self) -> None:
        """Cut every connection."""
        for transport in self._transports:
            transport.close()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._listener.close()
        self.hang_up()


@dataclass
class Run:
    """What the worker did."""

    rc: int
    events: list[Event]
    stderr: str
    raw: str

    def finished(self, resource: str = "", host: str = "") -> list[Event]:
        """The finished events, of one resource and host if named."""
        return [
            event
            for event in self.events
            if event.phase is Phase.FINISHED and resource in ("", event.resource) and host in ("", event.host)
        ]

    def outcomes(self, host: str = "") -> dict[str, Outcome | None]:
        """Outcome by resource, without the worker's own resources."""
        return {
            event.resource: event.outcome
            for event in self.finished(host=host)
            if event.resource not in ("connect", "facts")
        }

    @property
    def round_trips(self) -> int:
        """All round trips of the run, as the worker counts them."""
        return sum(int(event.message.split()[0]) for event in self.finished("facts") if event.message)


@dataclass
class Box:
    """A host entry of a job, and the deploy files to run there."""

    server: SshServer
    folder: Path
    data: dict[str, Any] = field(default_factory=dict)

    def host(self, name: str = "box", **changes: Any) -> dict[str, Any]:
        """The host's part of a job."""
        return {
            "name": name,
            "address": "127.0.0.1",
            "port": self.server.port,
            "user": "tester",
            "key": str(self.server.key_file),
            "known_hosts": str(self.server.known_hosts),
            "data": {"folder": str(self.folder / "target"), **self.data},
            **changes,
        }

    def deploy(self, source: str, name: str = "site") -> str:
        """Write a deploy file."""
        path = self.folder / f"{name}.py"
        path.write_text(source)
        return str(path)

    def run(self, *deploys: str, hosts: list[dict[str, Any]] | None = None, **job: Any) -> Run:
        """Run the worker to its end."""
        document = {"hosts": hosts or [self.host()], "deploys": deploys, **job}
        return finish(start(document))


def start(job: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the worker and hand it its job."""
    pipe = subprocess.PIPE
    worker = subprocess.Popen(
        [sys.executable, "-m", "boxwright.engines.pyinfra.worker"],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=REPO,
    )
    worker.stdin.write(json.dumps(job))
    worker.stdin.close()
    worker.stdin = None
    return worker


def finish(worker: subprocess.Popen[str], timeout: float = 60) -> Run:
    """Wait for the worker and read its events."""
    try:
        out, err = worker.communicate(timeout=timeout)
    finally:
        worker.kill()
    events = [Event.model_validate_json(line) for line in out.splitlines()]
    return Run(worker.returncode, events, err, out)
