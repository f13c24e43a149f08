"""A trial under way: its unit on the box at the other end of one connection, and what it tells."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxwright.errors import BoxwrightError
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
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed on exit

    def __enter__(self) -> Session:
        self._process = subprocess.Popen(
            self._endpoint.command(self._script, shared=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us, who end it in order
        )
        assert self._process.stdin  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # then its end tells why
            self._process.stdin.write(json.dumps(self._order) + "\n")
            self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process  # noqa: S101
        assert process.stdin  # noqa: S101
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._said.close()

    def lines(self, patience_s: float) -> Iterator[dict[str, Any]]:
        """What the trial tells, until it ends.

        Args:
            patience_s: After so long the connection is cut: the box has ended the trial by then.

        Raises:
            UnreachableError: ssh could not get in, or the connection broke.
            BoxwrightError: The trial failed.
        """
        process = self._process
        assert process  # noqa: S101
        assert process.stdout  # noqa: S101
        guard, began = threading.Timer(patience_s, process.kill), False
        guard.start()
        try:
            for line in process.stdout:
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    if isinstance(told, dict):
                        began = True
                        yield told
        finally:
            guard.cancel()
        self._judge(process.wait(), began=began)

    def _judge(self, code: int, *, began: bool) -> None:
        if code == 0:
            return
        self._said.seek(0)
        said = self._said.read()[-4000:].strip()
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
