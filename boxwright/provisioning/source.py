"""Which Boxwright this is: the commit of its own source, where it is a checkout of git."""

from __future__ import annotations

import subprocess

from boxwright.places import ROOT

_TIMEOUT_S = 10


def revision() -> str:
    """The commit, with ` modified` behind it where files differ from it; empty where this is no checkout of git."""
    commit = _git("rev-parse", "--verify", "HEAD").strip()
    if not commit:
        return ""
    return f"{commit} modified" if _git("status", "--porcelain", "--untracked-files=no") else commit


def _git(*words: str) -> str:
    """What git says of our own tree; nothing where there is no git, or none of its trees."""
    command = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
