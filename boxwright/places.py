"""Where Boxwright lies, and where it keeps things on the controller: directories private to the user who runs it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of roles, deploys, templates and inventories, beside the package


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
    """What lives as long as a run, in memory where possible: control sockets, private inputs."""
    return _private(_base("BOXWRIGHT_RUNTIME", "/run/boxwright", "XDG_RUNTIME_DIR", ".cache/run"))


def configuration() -> Path:
    """The user's own settings: the vault's password file."""
    return _private(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "boxwright")
