"""The page's service: stopped, started, and asked whether it answers."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request

_LOG_LINES = 300  # a traceback, with the whole of what failed in it
_SHOWN_LINES = 8
_SHOWN_ERRORS = 3
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*")  # as a traceback ends; much may follow


class Service:
    """A systemd unit that answers at an address on loopback."""

    def __init__(self, unit: str, url: str, patience_s: int) -> None:
        self.unit = unit
        self.url = url
        self.patience_s = patience_s

    def stop(self) -> None:
        """End it, and wait for that."""
        _systemctl("stop", self.unit)

    def started(self, crashes: int) -> str:
        """Start it and wait until it answers. What went wrong, with its last log lines; empty where nothing did.

        Args:
            crashes: So many are too many. A unit that is started again and again never counts as failed by itself.
        """
        since = time.time()
        _systemctl("daemon-reload")
        _systemctl("reset-failed", self.unit)
        _systemctl("restart", self.unit)
        end = time.monotonic() + self.patience_s
        while not self.answers():
            if time.monotonic() > end or self._crashes() >= crashes:
                return self._log(since)
            time.sleep(0.5)
        return ""

    def answers(self) -> bool:
        """Whether the unit runs, and its address answers with 2xx. Proxies are for the outside, never for loopback."""
        if subprocess.run(["systemctl", "is-active", "--quiet", self.unit], check=False).returncode:
            return False
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.url, timeout=5) as answer:
                return bool(200 <= answer.status < 300)
        except OSError:
            return False

    def _crashes(self) -> int:
        shown = _systemctl("show", "--value", "--property=NRestarts", self.unit)
        return int(shown) if shown.isdigit() else 0

    def _log(self, since: float) -> str:
        asking = ["journalctl", f"--unit={self.unit}", f"--since=@{int(since)}", f"--lines={_LOG_LINES}"]
        done = subprocess.run(
            [*asking, "--no-pager", "--output=cat"], capture_output=True, text=True, errors="replace", check=False
        )
        lines = done.stdout.strip().splitlines() or [f"{self.unit} does not answer at {self.url}"]
        errors = [line for line in lines[:-_SHOWN_LINES] if _ERROR.fullmatch(line.strip())]
        return "\n".join([*dict.fromkeys(errors[-_SHOWN_ERRORS:]), *lines[-_SHOWN_LINES:]])


def _systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()
