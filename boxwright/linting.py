"""The linters as data, and a way to run them all. The `lint` verb and the tests use the same list.

Every linter comes from the lock and reads its settings from the repository's own configuration files, so that
an editor, `./invoke lint` and CI see the same.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import BoxwrightError

DEADLINE_S = 600
AT_ONCE = 2  # most of them use one core; more at once only makes each slower on a small machine
SHELL_SCRIPT = re.compile(rb"#!.*\b(ba|da)?sh\b")


@dataclass(frozen=True)
class Linter:
    """One linter: what runs, and what it guards.

    Attributes:
        name: As people call it.
        argv: Program of the lock's environment and its arguments; runs in the repository's root.
        why: What would slip in without it.
    """

    name: str
    argv: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class LintResult:
    """How one linter ended. `output` is what it printed, kept for when it is not `ok`."""

    linter: Linter
    ok: bool
    seconds: float
    output: str


LINTERS = (
    Linter("mypy", ("mypy",), "types hold, strictly, across boxwright"),
    Linter("ansible-lint", ("ansible-lint", "--nocolor", "-q"), "roles keep Ansible's own practice"),
    Linter("ruff check", ("ruff", "check", "-q", "--output-format=concise"), "known bugs, unsafe calls"),
    Linter("ruff format", ("ruff", "format", "--check"), "one layout, so that a diff shows what changed"),
    Linter("yamllint", ("yamllint", "--strict", "--format=parsable", "."), "duplicate keys, octal numbers"),
)


def linters(repository: Path) -> tuple[Linter, ...]:
    """Return every linter, the slow ones first; shellcheck is given each shell script that git knows."""
    scripts = [path for path in known_files(repository) if is_shell_script(repository / path)]
    shellcheck = Linter("shellcheck", ("shellcheck", *map(str, scripts)), "unquoted words in shell scripts")
    return (*LINTERS, shellcheck)


def known_files(repository: Path) -> list[Path]:
    """Return the files that are tracked or could be: existing, not ignored; relative to the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        raise BoxwrightError(
            "git cannot list the files to check",
            where=str(repository),
            hint="Run this in a git clone of the repository.",
            output=listing.stderr,
        )
    names = (Path(name) for name in listing.stdout.split("\0") if name)
    return sorted(name for name in names if (repository / name).is_file())


def is_shell_script(path: Path) -> bool:
    """Tell whether a file is run by a POSIX shell or bash: by its suffix, or by its first line.

    A template is not one: its Jinja is no shell, and what it renders to is for the golden tests to check.
    """
    if path.suffix in {".sh", ".j2"}:
        return path.suffix == ".sh"
    with path.open("rb") as file:
        return SHELL_SCRIPT.match(file.readline(128)) is not None


def run_all(repository: Path, finished: Callable[[LintResult], None]) -> tuple[LintResult, ...]:
    """Run every linter, two at a time.

    Args:
        repository: The root of the working tree.
        finished: Called with each result as soon as it is there, in the caller's thread.

    Returns:
        The results in the order in which the linters are listed.
    """
    chosen = linters(repository)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        running = {pool.submit(run, linter, repository): linter for linter in chosen}
        results = {}
        for future in as_completed(running):
            result = future.result()
            results[result.linter] = result
            finished(result)
    return tuple(results[linter] for linter in chosen)


def run(linter: Linter, repository: Path) -> LintResult:
    """Run one linter. One that is missing or does not end in time counts as failed, never as passed."""
    scripts = sysconfig.get_path("scripts")
    program, *arguments = linter.argv
    begin = time.monotonic()
    try:
        process = subprocess.run(
            [f"{scripts}/{program}", *arguments],
            cwd=repository,
            env=os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            check=False,
        )
        ok, output = process.returncode == 0, process.stdout
    except subprocess.TimeoutExpired:
        ok, output = False, f"{linter.name} did not end within {DEADLINE_S} s"
    except OSError as error:
        ok, output = False, f"{linter.name} did not start: {error}"
    return LintResult(linter, ok, time.monotonic() - begin, output)
