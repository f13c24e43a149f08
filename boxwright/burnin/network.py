"""Streams between the controller and a box, by ssh and both ways: no port is opened for them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from boxwright.burnin.session import StoppedError
from boxwright.transport.ssh import Endpoint

_BLOCK = 1 << 20
_PATIENCE_S = 60
# What the box does: take all and tell its digest, or send for so many seconds and tell the digest of that.
_SINK = """
import hashlib, sys
digest = hashlib.sha256()
while block := sys.stdin.buffer.read(1 << 20):
    digest.update(block)
print(digest.hexdigest())
"""
_SOURCE = """
import hashlib, os, sys, time
digest, until, noise, place = hashlib.sha256(), time.monotonic() + float(sys.argv[1]), os.urandom(1 << 22), 0
while time.monotonic() < until:
    place = (place + 4093) % (3 << 20)
    block = noise[place : place + (1 << 20)]
    digest.update(block)
    sys.stdout.buffer.write(block)
sys.stdout.buffer.flush()
print(digest.hexdigest(), file=sys.stderr)
"""


@dataclass(frozen=True)
class Stream:
    """What went one way.

    Attributes:
        gbit_s: How fast.
        whole: Whether it came as it went, by its SHA-256.
    """

    gbit_s: float
    whole: bool


def to_box(endpoint: Endpoint, seconds: float, check: Callable[[], None]) -> Stream:
    """Send noise to a box for a while.

    Args:
        endpoint: The box.
        seconds: How long.
        check: Called again and again; it raises where the burn-in is to end.

    Raises:
        StoppedError: The connection broke.
    """
    digest, noise, place, sent = hashlib.sha256(), os.urandom(4 * _BLOCK), 0, 0
    with _there(endpoint, seconds, _SINK) as process:
        assert process.stdin  # noqa: S101  piped
        assert process.stdout  # noqa: S101  piped
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < seconds:
                check()
                place = (place + 4093) % (3 * _BLOCK)
                block = noise[place : place + _BLOCK]
                digest.update(block)
                process.stdin.write(block)
                sent += len(block)
            process.stdin.close()
        except OSError:
            raise _broken(endpoint) from None
        told = process.stdout.read().decode(errors="replace").strip()
        taken = time.monotonic() - begun
        if process.wait():
            raise _broken(endpoint)
    return Stream(sent * 8 / taken / 1e9, told == digest.hexdigest())


def from_box(endpoint: Endpoint, seconds: float, check: Callable[[], None]) -> Stream:
    """Have a box send noise for a while; as `to_box`.

    Raises:
        StoppedError: The connection broke.
    """
    digest, came = hashlib.sha256(), 0
    with _there(endpoint, seconds, _SOURCE, f"{seconds:g}") as process:
        assert process.stdout  # noqa: S101  piped
        assert process.stderr  # noqa: S101  piped
        begun = time.monotonic()
        while block := process.stdout.read(_BLOCK):
            check()
            digest.update(block)
            came += len(block)
        taken = time.monotonic() - begun
        told = process.stderr.read().decode(errors="replace").split()
        if process.wait():
            raise _broken(endpoint)
    return Stream(came * 8 / taken / 1e9, bool(told) and told[-1] == digest.hexdigest())


@contextlib.contextmanager
def _there(endpoint: Endpoint, seconds: float, source: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    limit = str(int(seconds) + _PATIENCE_S)
    script = f"exec {shlex.join(['timeout', limit, 'python3', '-I', '-S', '-c', source, *arguments])}"
    process = subprocess.Popen(
        endpoint.command(script, shared=False),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent yet goes nowhere
                    pipe.close()


def _broken(endpoint: Endpoint) -> StoppedError:
    return StoppedError("the connection to the box was lost", where=endpoint.name)
