"""The deploy lock of a box: one operator at a time.

The lock is a file lock on the box, held by the remote end of an ssh session of its own. When the controller goes
away, by a crash or a cut cable, the session ends and the lock with it: nobody has to clear a stale lock. When that
session alone breaks, the run is told, so that two operators never work on a box without knowing of each other.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from boxwright.errors import BoxwrightError, LockedError
from boxwright.transport.ssh import SSH_FAILED, Endpoint, unreachable

_TAKEN = 75  # EX_TEMPFAIL
_HEARTBEAT_S = 20
_LOOK_EVERY_S = 1
_SCRIPT = """
set -u
umask 077
mkdir -p /run/boxwright
read -r -t 30 info || exit 1
exec 9>>/run/boxwright/deploy.lock
if ! flock -n 9; then cat /run/boxwright/deploy.json 2>/dev/null; exit 75; fi
printf '%s\\n' "$info" >/run/boxwright/deploy.json
echo held
while read -r -t 90 _; do :; done
rm -f /run/boxwright/deploy.json
"""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, since when, for what."""

    who: str
    since: str
    doing: str


class DeployLock:
    """A context that holds the deploy lock of one host.

    Args:
        endpoint: The host.
        holder: Told to whoever comes second.
        on_lost: Called, from a thread of the lock's, when the session that holds it has ended by itself.

    Raises:
        LockedError: Somebody else holds it.
        UnreachableError: The host cannot be entered.
        BoxwrightError: The host has no lock to give.
    """

    def __init__(self, endpoint: Endpoint, holder: Holder, on_lost: Callable[[], None] = lambda: None) -> None:
        self._endpoint = endpoint
        self._holder = holder
        self._on_lost = on_lost
        self._over = threading.Event()
        self._session: subprocess.Popen[str] | None = None

    def __enter__(self) -> DeployLock:
        self._take()
        return self

    def renew(self) -> None:
        """Take the lock again after a reboot, which has ended the session that held it."""
        old, self._session = self._session, None
        if old is not None:
            old.kill()
            old.wait()
        self._take()

    def _take(self) -> None:
        session = subprocess.Popen(
            self._endpoint.command(_SCRIPT, shared=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the run, which lets go of the lock itself
        )
        self._session = session
        assert session.stdin  # noqa: S101
        assert session.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            session.stdin.write(json.dumps(vars(self._holder)) + "\n")
            session.stdin.flush()
        answer = _first_line(session, self._endpoint.connect_timeout_s + 30)
        if answer == "held":
            threading.Thread(target=self._keep, args=(session,), daemon=True).start()
            return
        raise self._refusal(session, answer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        session = self._session
        if session is None or session.stdin is None:
            return
        with contextlib.suppress(OSError):
            session.stdin.close()
        try:
            session.wait(timeout=5)
        except subprocess.TimeoutExpired:
            session.kill()
            session.wait()

    def _keep(self, session: subprocess.Popen[str]) -> None:
        assert session.stdin  # noqa: S101
        beats = time.monotonic()
        while not self._over.wait(_LOOK_EVERY_S) and session is self._session:
            if session.poll() is not None:
                if not self._over.is_set() and session is self._session:
                    self._on_lost()
                return
            if time.monotonic() - beats >= _HEARTBEAT_S:
                beats = time.monotonic()
                with contextlib.suppress(OSError, ValueError):  # the next look tells
                    session.stdin.write("\n")
                    session.stdin.flush()

    def _refusal(self, session: subprocess.Popen[str], answer: str) -> BoxwrightError:
        try:
            _, stderr = session.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            session.kill()
            _, stderr = session.communicate()
        if session.returncode == SSH_FAILED or session.returncode < 0:  # or killed, because it said nothing
            return unreachable(self._endpoint, stderr)
        if session.returncode != _TAKEN:
            return BoxwrightError(
                f"the deploy lock cannot be taken: the script for it ended with code {session.returncode}",
                where=self._endpoint.name,
                hint="It needs root, by login or by sudo without a password, and flock of util-linux.",
                output=stderr,
            )
        try:
            holder = Holder(**json.loads(answer))
            told = f"{holder.who} has been at work on this box since {holder.since}: {holder.doing}"
        except (ValueError, TypeError):
            told = "another run has just begun on this box"
        return LockedError(
            told,
            where=self._endpoint.name,
            hint="Wait for it. The lock ends with that run, even when it crashes.",
        )


def _first_line(session: subprocess.Popen[str], timeout_s: float) -> str:
    """The first line that the session prints; empty when it ends, or when time is over and it is killed."""
    guard = threading.Timer(timeout_s, session.kill)
    guard.start()
    try:
        assert session.stdout  # noqa: S101
        return session.stdout.readline().strip()
    finally:
        guard.cancel()
