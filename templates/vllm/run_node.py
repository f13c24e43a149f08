#!/usr/bin/env python3
"""Run a command on every node of a box as one: it starts when all nodes are there, and ends on all when one is lost.

Usage: run-node RANK HEAD PORT PEERS OWN COMMAND…

RANK 0 is the head, which listens on HEAD:PORT for the others. PEERS, with commas between, are the addresses that it
lets in; OWN is this node's.

vLLM does not notice that another node has gone: its head goes on to call itself healthy, its answers never come, and a
node that comes back finds nobody who waits for it (0.32, a pipeline over two machines). So each node holds a connection
to the head for as long as its command runs. Where one breaks, the command is ended everywhere, and started again
everywhere when all nodes are there. A command that ends by itself is systemd's to start again, and to count.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time

GO = b"go\n"
PATIENCE_S = 20  # for a command to end by itself without its fellows
AGAIN_S = 1  # between the end of a command and the next look for fellows
_LOOK_S = 0.5


class Stopped(Exception):  # noqa: N818 - no error: somebody stops the unit
    """SIGTERM or SIGINT."""


def kept_alive(connection: socket.socket) -> socket.socket:
    """A connection whose other end is missed within half a minute when its machine is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


def gathered(head: str, port: int, peers: set[str]) -> list[socket.socket]:
    """The head's connections to all others, once each of them is there; one that came back counts anew."""
    family = socket.AF_INET6 if ":" in head else socket.AF_INET
    there: dict[str, socket.socket] = {}
    with socket.create_server((head, port), family=family) as server:
        while peers - set(there):
            ready, _, _ = select.select([server, *there.values()], [], [])
            for one in ready:
                if one is server:
                    connection, address = server.accept()
                    if address[0] in peers:
                        there[address[0]] = kept_alive(connection)
                        say(f"{address[0]} is there, {len(there)} of {len(peers)}")
                    else:
                        connection.close()
                else:  # nothing is said before all are there: it has gone again
                    there = {name: own for name, own in there.items() if own is not one}
                    one.close()
    for connection in there.values():
        connection.sendall(GO)
    return list(there.values())


def joined(head: str, port: int, own: str) -> socket.socket:
    """A node's connection to the head, once all nodes are there."""
    said = False
    while True:
        connection = None
        try:
            connection = kept_alive(socket.create_connection((head, port), timeout=5, source_address=(own, 0)))
            connection.settimeout(None)
            if connection.recv(len(GO)) == GO:
                return connection
        except OSError as error:
            if not said:
                say(f"waiting for the head at {head}:{port}: {error}")
            said = True
        if connection:
            connection.close()
        time.sleep(1)


def held(command: list[str], fellows: list[socket.socket]) -> int | None:
    """Run the command for as long as all fellows are there; its exit status, or None where one was lost."""
    process = subprocess.Popen(command, process_group=0)
    try:
        while process.poll() is None:
            lost, _, _ = select.select(fellows, [], [], _LOOK_S)
            if lost:
                say("a node of the box is lost: ending, to start again together with it")
                ended(process, PATIENCE_S)
                return None
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


def say(text: str) -> None:
    """Tell the journal."""
    print(f"run-node: {text}", flush=True)  # noqa: T201 - a program of its own on the box


def _stop(*_: object) -> None:
    raise Stopped


def main(words: list[str]) -> int:
    """Do what is asked."""
    rank, head, port, peers = int(words[0]), words[1], int(words[2]), words[3].split(",")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with contextlib.suppress(Stopped):
        while True:
            fellows = gathered(head, port, set(peers)) if rank == 0 else [joined(head, port, words[4])]
            say("all nodes of the box are there")
            status = held(words[5:], fellows)
            for connection in fellows:  # tells the other nodes
                connection.close()
            if status is not None:
                return status
            time.sleep(AGAIN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
