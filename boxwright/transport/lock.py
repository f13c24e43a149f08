"""The deploy lock of a box: one operator at a time.

The lock is a file lock on the box, held by the remote end of an ssh session of its own. When the controller goes
away, by a crash or a cut cable, the session ends and the lock with it: nobody has to clear a stale lock.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from dataclasses import dataclass
from types import TracebackType

from boxwright.errors import LockedError, UnreachableError
from boxwright.transport.ssh import Endpoint, unreachable

_TAKEN = 75  # EX_TEMPFAIL
_HEARTBEAT_S = 20
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

    Raises:
        LockedError: Somebody else holds it.
        UnreachableError: The host cannot be entered.
    """

    def __init__(self, endpoint: Endpoint, holder: Holder) -> None:
        self._endpoint = endpoint
        self._holder = holder
        self._over = threading.Event()
        self._session: subprocess.Popen[str] | None = None

    def __enter__(self) -> DeployLock:
        self._take()
        return self

    def renew(self) -> None:
        """Take the lock again after a reboot, which has ended the session that held it."""
        if self._session is not None:
            self._session.kill()
            self._session.wait()
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
        while not self._over.wait(_HEARTBEAT_S):
            try:
                assert session.stdin  # noqa: S101
                session.stdin.write("\n")
                session.stdin.flush()
            except (OSError, ValueError):
                return

    def _refusal(self, session: subprocess.Popen[str], answer: str) -> LockedError | UnreachableError:
        try:
            _, stderr = session.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            session.kill()
            _, stderr = session.communicate()
        if session.returncode != _TAKEN:
            return unreachable(self._endpoint, stderr)
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
