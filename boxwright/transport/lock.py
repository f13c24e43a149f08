"""The deploy lock of a box: one operator at a time.

The lock is a file lock on the box, held by the remote end of an ssh session of its own. When the controller goes
away, by a crash or a cut cable, the session ends and the lock with it: nobody has to clear a stale lock. When that
session alone breaks, the run is told, so that two operators never work on a box without knowing of each other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from boxwright.errors import BoxwrightError, LockedError
from boxwright.transport.attached import Attached
from boxwright.transport.ssh import SSH_FAILED, Endpoint, unreachable

_TAKEN = 75  # EX_TEMPFAIL
_HEARTBEAT_S = 20
_LOOK_EVERY_S = 1
_ENDING_S = 5
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
        self._session: Attached | None = None

    def __enter__(self) -> DeployLock:
        self._take()
        return self

    def renew(self) -> None:
        """Take the lock again after a reboot, which has ended the session that held it."""
        old, self._session = self._session, None
        if old is not None:
            old.end(patience_s=0)
        self._take()

    def _take(self) -> None:
        session = self._session = Attached(self._endpoint, _SCRIPT)
        session.send(json.dumps(vars(self._holder)))
        answer = session.first_line(self._endpoint.connect_timeout_s + 30)
        if answer == "held":
            threading.Thread(target=self._keep, args=(session,), daemon=True).start()
            return
        raise self._refusal(session, answer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._session is not None:
            self._session.end(_ENDING_S)

    def _keep(self, session: Attached) -> None:
        beats = time.monotonic()
        while not self._over.wait(_LOOK_EVERY_S) and session is self._session:
            if not session.running:
                if not self._over.is_set() and session is self._session:
                    self._on_lost()
                return
            if time.monotonic() - beats >= _HEARTBEAT_S:
                beats = time.monotonic()
                session.send("")

    def _refusal(self, session: Attached, answer: str) -> BoxwrightError:
        with session.at_most(_ENDING_S):
            code = session.code()
        stderr = session.said()
        session.end(patience_s=0)
        if code == SSH_FAILED or code < 0:  # or killed, because it said nothing
            return unreachable(self._endpoint, stderr)
        if code != _TAKEN:
            return BoxwrightError(
                f"the deploy lock cannot be taken: the script for it ended with code {code}",
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
