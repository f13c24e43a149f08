"""How far the reading of a bundle is: one of a large model takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable

TELL_EVERY_S = 5.0


def reading(tell: Callable[[str], None]) -> Callable[[int, int], None]:
    """What takes bytes that were read, and all of them, and tells every few seconds how far that is."""
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            tell(f"{megabytes(done)} of {megabytes(total)} ({100 * done // total} %)")

    return progress


def megabytes(count: int) -> str:
    """Bytes as on a disk's label."""
    return f"{count / 1e9:.1f} GB" if count >= 10e9 else f"{count / 1e6:.1f} MB"
