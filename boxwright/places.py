"""Where Boxwright lies, and where it keeps things on the controller: directories private to the user who runs it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from boxwright.errors import BoxwrightError

ROOT = Path(__file__).resolve().parents[1]  # of roles, deploys, templates and inventories, beside the package

# A socket's path may have 107 octets, and of those ssh's own name for a shared connection takes 62.
_SOCKETS_BELOW = 45


def _base(variable: str, for_root: str, xdg: str, fallback: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path(for_root)
    return Path(os.environ.get(xdg) or Path.home() / fallback) / "boxwright"


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def state() -> Path:
    """What must not be lost: run logs, vaults, the state of labs. `BOXWRIGHT_STATE` moves it."""
    return _private(_base("BOXWRIGHT_STATE", "/var/lib/boxwright", "XDG_STATE_HOME", ".local/state"))


def cache() -> Path:
    """What can be made again. `BOXWRIGHT_CACHE` moves it."""
    return _private(_base("BOXWRIGHT_CACHE", "/var/cache/boxwright", "XDG_CACHE_HOME", ".cache"))


def runtime() -> Path:
    """What lives as long as a run, in memory where possible: private inputs."""
    return _private(_base("BOXWRIGHT_RUNTIME", "/run/boxwright", "XDG_RUNTIME_DIR", ".cache/run"))


def sockets() -> Path:
    """Where sockets are made: `runtime`, or a folder in `/tmp` where that path is too long for any.

    `TMPDIR` is no place for them: its path may have any length, and a program that cannot make its socket
    fails, or waits for ever.

    Raises:
        BoxwrightError: The folder in `/tmp` belongs to somebody else.
    """
    own = runtime()
    path = os.fsencode(own)
    if len(path) <= _SOCKETS_BELOW:
        return own
    user = os.geteuid()
    short = Path(f"/tmp/boxwright-{user}-{hashlib.sha256(path).hexdigest()[:8]}")  # noqa: S108  checked below
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise BoxwrightError(
            f"{short} is needed for sockets, and is not this user's alone",
            hint="Remove it, or set BOXWRIGHT_RUNTIME to a private directory of a short path.",
        )
    return short


def configuration() -> Path:
    """The user's own settings: the vault's password file."""
    return _private(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "boxwright")
