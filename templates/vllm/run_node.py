#!/usr/bin/env python3
"""Run a command on every node of a box as one: it starts when all nodes are there, and ends on all when one is lost.

Usage: run-node [--settings DIGEST FOLDER] RANK HEAD PORT PEERS OWN COMMAND…

RANK 0 is the head, which listens on HEAD:PORT for the others. PEERS, with commas between, are the addresses that it
lets in; OWN is this node's. DIGEST stands for what all nodes are told: those with another one do not start together, so
that a box whose nodes were changed one after the other, or put back, never serves by halves.

The head tells the others when it serves: as soon as `proven` in FOLDER holds the digest and nobody holds a lock on
`trying` there (serve-unit keeps both). Each other node writes what it knows of its head to `head` in RUNTIME_DIRECTORY:
`waiting`, `other` (it has other settings), `joined`, or `serves`. The head writes there whether it has `joined` all of
them.

vLLM does not notice that another node has gone: its head goes on to call itself healthy, its answers never come, and a
node that comes back finds nobody who waits for it (0.32, a pipeline over two machines). So each node holds a connection
to the head for as long as its command runs. Where one breaks, the command is ended everywhere, and started again
everywhere when all nodes are there. A command that ends by itself is systemd's to start again, and to count.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GO, OTHER, SERVES = b"go\n", b"no\n", b"up\n"  # what a head says; of one length
PATIENCE_S = 20  # for a command to end by itself without its fellows
AGAIN_S = 1  # between the end of a command and the next look for fellows
_LOOK_S = 0.5
_HELLO_S = 5  # for a node to say which settings it has


@dataclass(frozen=True)
class Settings:
    """What all nodes of the box are told, as a digest; empty: nobody compares it."""

    digest: str = ""
    folder: Path = Path()  # where serve-unit says whether they are proven; read by the head

    @property
    def hello(self) -> bytes:
        """What a node says of itself to the head."""
        return f"{self.digest}\n".encode() if self.digest else b""

    def are_proven(self) -> bool:
        """Whether this head was proven to serve by them, and nobody is about to prove it anew."""
        try:
            if (self.folder / "proven").read_text().strip() != self.digest:
                return False
            with (self.folder / "trying").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError as error:
            return str(error.filename).endswith("trying")
        except OSError:  # locked
            return False
        return True


class Stopped(Exception):  # noqa: N818 - no error: somebody stops the unit
    """SIGTERM or SIGINT."""


def kept_alive(connection: socket.socket) -> socket.socket:
    """A connection whose other end is missed within half a minute when its machine is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


def gathered(head: str, port: int, peers: set[str], settings: Settings) -> list[socket.socket]:
    """The head's connections to all others, once each of them is there; one that came back counts anew."""
    family = socket.AF_INET6 if ":" in head else socket.AF_INET
    there: dict[str, socket.socket] = {}
    asked: dict[socket.socket, str] = {}  # who has not said yet which settings it has
    with socket.create_server((head, port), family=family) as server:
        while peers - set(there):
            ready, _, _ = select.select([server, *asked, *there.values()], [], [])
            for one in ready:
                name = None
                if one is server:
                    name = _let_in(server, peers, asked, settings)
                elif one in asked:
                    name = _of_the_same_settings(one, asked.pop(one), settings)
                else:  # nothing is said before all are there: it has gone again
                    there = {name: own for name, own in there.items() if own is not one}
                    one.close()
                if name:
                    there[name[0]] = name[1]
                    say(f"{name[0]} is there, {len(there)} of {len(peers)}")
    for connection in asked:
        connection.close()
    for connection in there.values():
        connection.sendall(GO)
    return list(there.values())


def _let_in(
    server: socket.socket, peers: set[str], asked: dict[socket.socket, str], settings: Settings
) -> tuple[str, socket.socket] | None:
    """Whoever knocks, if it is a node of the box: at once where settings are not compared, else it is asked."""
    connection, address = server.accept()
    if address[0] not in peers:
        connection.close()
        return None
    kept_alive(connection)
    if not settings.digest:
        return address[0], connection
    asked[connection] = address[0]
    return None


def _of_the_same_settings(connection: socket.socket, name: str, settings: Settings) -> tuple[str, socket.socket] | None:
    """A node that has just said which settings it has, if they are these."""
    with contextlib.suppress(OSError):
        connection.settimeout(_HELLO_S)
        said = connection.recv(len(settings.hello), socket.MSG_WAITALL)
        connection.settimeout(None)
        if said == settings.hello:
            return name, connection
        if said:
            say(f"{name} has other settings")
            connection.sendall(OTHER)
    connection.close()
    return None


def joined(head: str, port: int, own: str, settings: Settings) -> socket.socket:
    """A node's connection to the head, once all nodes are there."""
    said = False
    while True:
        connection, why = None, ""
        try:
            connection = kept_alive(socket.create_connection((head, port), timeout=5, source_address=(own, 0)))
            connection.sendall(settings.hello)
            connection.settimeout(None)
            answer = connection.recv(len(GO))
            if answer == GO:
                return connection
            why = "it has other settings" if answer == OTHER else ""
            know("other" if answer == OTHER else "waiting")
        except OSError as error:
            why = str(error)
            know("waiting")
        if why and not said:
            say(f"waiting for the head at {head}:{port}: {why}")
            said = True
        if connection:
            connection.close()
        time.sleep(1)


def tell(fellows: list[socket.socket], settings: Settings) -> Callable[[], bool]:
    """What a head does from time to time: tell the others that it serves, once it is proven to. True: they are told."""

    def told() -> bool:
        if not settings.digest or not settings.are_proven():
            return False
        for connection in fellows:
            with contextlib.suppress(OSError):  # it is lost, and that is seen
                connection.sendall(SERVES)
        return True

    return told


def lost(fellows: list[socket.socket]) -> bool:
    """Whether a fellow has gone; the head's word is taken in."""
    for one in fellows:
        try:
            said = one.recv(len(SERVES))
        except OSError:
            return True
        if said != SERVES:
            return True
        know("serves")
    return False


def held(command: list[str], fellows: list[socket.socket], told: Callable[[], bool]) -> int | None:
    """Run the command for as long as all fellows are there; its exit status, or None where one was lost."""
    process, done = subprocess.Popen(command, process_group=0), False
    try:
        while process.poll() is None:
            heard, _, _ = select.select(fellows, [], [], _LOOK_S)
            if lost(heard):
                say("a node of the box is lost: ending, to start again together with it")
                ended(process, PATIENCE_S)
                return None
            done = done or told()
    except Stopped:
        ended(process, None)  # with requests in flight, which need the fellows; systemd has a limit of its own
        return 0
    return process.returncode


def ended(process: subprocess.Popen[bytes], patience_s: float | None) -> None:
    """End the command: by itself, or after a while the hard way; and what it has left behind."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def know(what: str) -> None:
    """Leave for serve-unit what this node knows of its head."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    if folder:
        draft = Path(folder, ".head")
        draft.write_text(what)
        draft.replace(Path(folder, "head"))


def say(text: str) -> None:
    """Tell the journal."""
    print(f"run-node: {text}", flush=True)  # noqa: T201 - a program of its own on the box


def _stop(*_: object) -> None:
    raise Stopped


def main(words: list[str]) -> int:
    """Do what is asked."""
    settings = Settings()
    if words[0] == "--settings":
        settings, words = Settings(words[1], Path(words[2])), words[3:]
    rank, head, port, peers = int(words[0]), words[1], int(words[2]), words[3].split(",")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with contextlib.suppress(Stopped):
        while True:
            know("waiting")
            if rank == 0:
                fellows = gathered(head, port, set(peers), settings)
                told = tell(fellows, settings)
            else:
                fellows, told = [joined(head, port, words[4], settings)], lambda: True
            know("joined")
            say("all nodes of the box are there")
            status = held(words[5:], fellows, told)
            for connection in fellows:  # tells the other nodes
                connection.close()
            if status is not None:
                return status
            time.sleep(AGAIN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
