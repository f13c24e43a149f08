"""A trial under way: its unit on the box at the other end of one connection, and what it tells."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxwright.errors import BoxwrightError
from boxwright.transport.attached import Attached
from boxwright.transport.ssh import SSH_FAILED, Endpoint, check, run, unreachable
from boxwright.trying import unit

_ENDING_S = 310  # systemd gives the unit 300 s, in which what it brought is removed


class Session:
    """A context that runs a trial. When it is left, the trial ends, and the box is asked whether everything is gone.

    The unit's standard input is this end of the connection. When the controller goes away, by a crash or a cut cable,
    it ends there, and the trial with it; where not even that is seen, at the end of its time.

    Args:
        endpoint: The box.
        command: What runs the trial there.
        order: What the trial is told.
    """

    def __init__(self, endpoint: Endpoint, command: Sequence[str], order: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._script = f"exec {shlex.join(command)}"
        self._order = order

    def __enter__(self) -> Session:
        self._trial = Attached(self._endpoint, self._script)
        self._trial.send(json.dumps(self._order))
        return self

    def __exit__(self, *_: object) -> None:
        self._trial.end(_ENDING_S)

    def lines(self, patience_s: float) -> Iterator[dict[str, Any]]:
        """What the trial tells, until it ends.

        Args:
            patience_s: After so long the connection is cut: the box has ended the trial by then.

        Raises:
            UnreachableError: ssh could not get in, or the connection broke.
            BoxwrightError: The trial failed.
        """
        began = False
        with self._trial.at_most(patience_s):
            for line in self._trial.lines():
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    if isinstance(told, dict):
                        began = True
                        yield told
        self._judge(self._trial.code(), began=began)

    def _judge(self, code: int, *, began: bool) -> None:
        if code == 0:
            return
        said = self._trial.said()
        if code < 0 or (code == SSH_FAILED and not began):
            raise unreachable(self._endpoint, said)
        raise BoxwrightError(
            f"the trial ended with code {code}",
            where=self._endpoint.name,
            hint=f"Its log is on the box: journalctl --unit {unit.NAME}",
            output=said,
        )


def opened(endpoint: Endpoint) -> None:
    """Wait until the gateway lets the page in: systemd calls the unit active when that is done, and nginx follows.

    Raises:
        BoxwrightError: The gateway did not take the page.
    """
    state = f"systemctl show --property=ActiveState --value {unit.NAME}"
    check(
        endpoint,
        f'for _ in $(seq 120); do case "$({state})" in active) sleep 1; exit 0;; activating) sleep 0.5;; '
        f"*) break;; esac; done; journalctl --unit {unit.NAME} --lines 10 --no-pager --output cat >&2; exit 1",
        timeout_s=120,
    )


def leftovers(endpoint: Endpoint, removed: Sequence[str]) -> str:
    """What of a trial is on a box although it is over; empty where nothing is."""
    paths = shlex.join([*removed, unit.LOCATION, f"/run/{unit.NAME}"])
    state = f"systemctl show --property=ActiveState --value {unit.NAME}"
    ended = f'for _ in $(seq {_ENDING_S}); do case "$({state})" in inactive|failed) break;; esac; sleep 1; done'
    script = f"{ended}; systemctl --quiet is-active {unit.NAME} && echo its unit; ls -d {paths} 2>/dev/null; true"
    return ", ".join(run(endpoint, script, timeout_s=_ENDING_S + 30).stdout.split("\n")).strip(", ")


def take_away(endpoint: Endpoint, removed: Sequence[str]) -> None:
    """Remove what was brought for a trial that did not come to begin."""
    gate = shlex.join(["python3", "-I", "-B", f"{unit.PROGRAM}/gate.py", "close", *removed])
    run(endpoint, f"test ! -e {unit.PROGRAM}/gate.py || {gate}")
