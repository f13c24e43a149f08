"""Files of the controller that are there whole or not at all, whatever ends the program that writes them."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int | None = None, *, folders: bool = True) -> Path:
    """Write a file so that its name stands for the old bytes or for the new ones: behind a power cut, too.

    Args:
        path: Where.
        data: All of it.
        mode: Who may read it; None: as the umask has it.
        folders: Make those that are missing.

    Returns:
        The path.

    Raises:
        OSError: It cannot be written; what was there is still there, and nothing is left beside it.
    """
    if folders:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a program that was killed, whose number is ours now
    try:
        with draft.open("xb") as file:  # made here: a link that somebody put there is not followed
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # without it, a file may get its name before its bytes
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path
