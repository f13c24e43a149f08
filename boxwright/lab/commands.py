"""Running the controller's own tools, and one lab command at a time."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import LabError


def run(argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None, holding: Sequence[int] = ()) -> str:
    """Run a program to its end and return what it printed.

    Args:
        argv: The program and its arguments.
        timeout: Seconds that it may take.
        stdin: What it reads.
        holding: Descriptors of locks that stay held until it and its children end, even if we are killed.

    Raises:
        LabError: It is not there, failed, or took longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            pass_fds=holding,
        )
    except FileNotFoundError as missing:
        raise LabError(f"{argv[0]} is not installed on this controller") from missing
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{argv[0]} did not end within {timeout:.0f} s", where=" ".join(argv)) from late
    if done.returncode:
        raise LabError(
            f"{argv[0]} ended with status {done.returncode}",
            where=" ".join(argv),
            output=tail(done.stdout + done.stderr),
        )
    return done.stdout


def tail(text: str, lines: int = 10) -> str:
    """The last lines of what a program printed."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[int]:
    """Hold a file lock and yield its descriptor; the kernel releases it at our death.

    Args:
        path: The lock's file.
        waiting: Told once if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting("Waiting for another command that works on the same lab")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def remove_tree(folder: Path) -> None:
    """Delete a folder, but never through a mount into something else.

    Raises:
        LabError: Something is mounted below.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].replace("\\040", " ")
        if Path(target).is_relative_to(folder):
            raise LabError(f"{target} is still mounted", hint=f"Unmount it: umount {target}")
    shutil.rmtree(folder)
