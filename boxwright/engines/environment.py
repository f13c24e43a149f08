"""What an engine inherits of our environment, and how it ends when we are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from boxwright.places import ROOT

_PARENT = "BOXWRIGHT_PARENT"
_LOOK_EVERY_S = 1.0

# Whatever else the operator's shell holds, secrets that a site names by `env:` among it, is no engine's business.
_INHERITED = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSH_AUTH_SOCK"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
    *("BOXWRIGHT_STATE", "BOXWRIGHT_RUNTIME"),
}


def engine_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of an engine that this process starts."""
    inherited = {name: value for name, value in ours.items() if name in _INHERITED}
    return inherited | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", _PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """End this process group when the process that started the engine is gone, however it went.

    A controller that is killed can end nothing any more, and its deploy lock on the box is free at once; an engine
    that went on would meet the next operator's.
    """
    parent = os.environ.get(_PARENT)
    if parent:
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    kill_descendants(os.getpid())
    os.killpg(os.getpgrp(), signal.SIGKILL)


def kill_descendants(process: int) -> None:
    """Kill every process below this one, whatever group it has moved to: each of Ansible's workers makes its own."""
    for child in _descendants(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    found = []
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for child in map(int, listed.read_text().split()):
                found += [child, *_descendants(child)]
    return found
