"""Whether the files of models are those that were verified. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

# Up to so much together is hashed by every verification: half a second of a processor that has instructions for it.
ALWAYS_HASHED_BYTES = 1 << 30
# For files that were touched since they were verified, by a verification that is not deep.
BUDGET_S = 60
# A deep one may take as long as a slow disk: 100 MB a second, and as much again for what else the box does.
_SLOWEST_BYTES_PER_S = 50_000_000


def deep_budget_s(total: int) -> int:
    """How long a deep verification may hash so many bytes."""
    return BUDGET_S + total // _SLOWEST_BYTES_PER_S


def breaches(files: Sequence[dict[str, Any]], *, budget_s: float) -> list[str]:
    """What is wrong with some files, as `remote.weights_facts` told of them."""
    found = []
    for file in files:
        path, digest = file["path"], file.get("digest")
        if "trouble" in file:
            found.append(f"{path}: {file['trouble']}")
        elif file["size"] != file["bytes"]:
            found.append(f"{path} has {file['size']} bytes, not {file['bytes']}")
        elif file["mode"] & 0o022:
            found.append(f"{path} can be written by others (mode {file['mode']:04o})")
        elif digest is not None and digest != file["sha256"]:
            found.append(f"{path} is another file: sha256 {digest[:12]}…, not {file['sha256'][:12]}…")
        elif digest is None and not file["untouched"]:
            found.append(
                f"{path} was touched at {_time(file['changed'])}, after it was verified, and {budget_s:g} s were too "
                "short to hash it: ./invoke verify --deep"
            )
    return found


def seen(files: Sequence[dict[str, Any]], seconds: float) -> str:
    """What was looked at, and how."""
    hashed = [file for file in files if file.get("digest") is not None]
    rest = [file for file in files if file.get("digest") is None]
    words = []
    if hashed:
        words.append(f"{_amount(hashed)} hashed in {seconds:.1f} s, as they were published")
    if rest:
        last = _time(max(file["noted"] for file in rest))
        words.append(f"{_amount(rest)} untouched since they were verified, {last}; not hashed again: --deep does that")
    return "; ".join(words)


def _amount(files: Sequence[dict[str, Any]]) -> str:
    size = sum(file["bytes"] for file in files)
    text = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    return f"{len(files)} file{'s' if len(files) != 1 else ''} of {text}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
