"""What serve-unit orders and asks of systemd, and what it tells whoever ran it."""

from __future__ import annotations

import subprocess
import sys
from typing import TextIO

CRASHES = 3  # restarts by systemd after which nobody waits any longer
LOG_LINES = 20
ENDS_IN_S = 900  # at most: the memory of a model of hundreds of gigabytes is not free at once


class FailedError(Exception):
    """It does not serve; the message says why, and the log what the unit said last."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def systemctl(*words: str, check: bool = True, patience_s: int = ENDS_IN_S) -> None:
    """Order something of systemd. What is slow goes on; whoever waits for it says when that is too long.

    Raises:
        FailedError: It refuses.
    """
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=patience_s)
    except subprocess.TimeoutExpired:
        return
    if check and done.returncode:
        raise FailedError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")


def shown(unit: str, name: str) -> str:
    """A property of a unit."""
    asking = ["systemctl", "show", unit, f"--property={name}", "--value"]
    return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def journal(unit: str) -> str:
    """The last that a unit said."""
    asking = ["journalctl", f"--unit={unit}", f"--lines={LOG_LINES}", "--no-pager", "--output=cat"]
    return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def say(text: str, where: TextIO | None = None) -> bool:
    """Tell whoever ran it; False where nobody is there any more, which is no reason to leave a box half changed."""
    try:
        print(text, file=where or sys.stdout, flush=True)
    except OSError:
        return False
    return True


def complain(failure: FailedError | OSError) -> None:
    """Tell what went wrong, the log first: of long output the end is shown."""
    log = getattr(failure, "log", "")
    say("\n".join([*([log] if log else []), f"serve-unit: {failure}"]), sys.stderr)
