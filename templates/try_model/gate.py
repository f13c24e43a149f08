"""Opens the gateway to the page of a trial, and takes away what a trial brought. Runs on the box as root.

Usage: python3 -I -B gate.py open SOCKET LOCATION
       python3 -I -B gate.py close [PATH …]

`open` lets nginx at SOCKET and gives it the file LOCATION; where nginx does not take that, nothing has changed. `close`
takes the location back and removes each PATH, which is a trial's own. It is right whatever came before it. What `open`
puts in place lies in /run, so that not even a power cut leaves it there.
"""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCATIONS = Path("/run/boxwright/gateway")
LOCATION = LOCATIONS / "try.conf"
OURS = ("/opt/boxwright/", "/usr/local/lib/boxwright/", "/var/lib/boxwright/requests/")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _reload() -> None:
    if _run("systemctl", "--quiet", "is-active", "nginx.service").returncode == 0:
        _run("systemctl", "reload", "nginx.service")


def open_gate(socket: Path, location: Path) -> str:
    """Let nginx serve the page; return why it cannot."""
    os.chown(socket, -1, grp.getgrnam("www-data").gr_gid)
    socket.chmod(0o660)
    LOCATIONS.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = LOCATIONS / ".try.conf.new"
    draft.write_text(location.read_text())
    draft.replace(LOCATION)
    asked = _run("nginx", "-t", "-q")
    if asked.returncode:
        LOCATION.unlink()
        return asked.stderr.strip()
    _reload()
    return ""


def close_gate(paths: list[str]) -> None:
    """Take the page back, and remove what was brought for it."""
    if LOCATION.exists():
        LOCATION.unlink()
        _reload()
    for path in paths:
        if os.path.normpath(path) == path and path.startswith(OURS):
            if Path(path).is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                Path(path).unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Open or close."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)  # the trial stands behind everybody, and is to go all the same
    what, *words = arguments
    if what == "close":
        close_gate(words)
        return 0
    wrong = open_gate(Path(words[0]), Path(words[1]))
    if wrong:
        print(f"nginx does not take the page: {wrong}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
