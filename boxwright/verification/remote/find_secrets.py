"""Looks for known secrets in every place of a machine where another user or a log reader could find them.

Runs on the box as root, with nothing but Python's standard library, and on the controller for its run logs.
It says which secret lies where and never what a secret is.
"""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import stat
import subprocess
import sys
from typing import IO, Any

# Code of others: never written by a deploy, and most of the bytes of a box.
LIBRARIES = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})
BLOCK = 1 << 20
MOST_JOURNAL = 256 << 20
KEY_MARK = b"PRIVATE KEY-----"

Needles = list[tuple[str, bytes]]


def names_in(stream: IO[bytes], needles: Needles, most: int) -> tuple[set[str], int]:
    """The names of the secrets in the first `most` bytes of a stream, and how many bytes were read."""
    longest = max(len(needle) for _, needle in needles)
    found: set[str] = set()
    tail = b""
    read = 0
    while read < most:
        block = stream.read(BLOCK)
        if not block:
            break
        read += len(block)
        window = tail + block
        found |= {name for name, needle in needles if needle in window}
        tail = window[-longest:]
    return found, read


def in_file(path: str, needles: Needles, most: int) -> set[str]:
    """The names of the secrets in a file, compressed or not. A file that has just gone holds none.

    Nor does what stands in the tree for an object of the kernel, such as a network namespace of a container: it shows
    as a regular file and cannot be read.
    """
    opener: Any = gzip.open if path.endswith(".gz") else lzma.open if path.endswith(".xz") else open
    try:
        with opener(path, "rb") as stream:
            return names_in(stream, needles, most)[0]
    except (FileNotFoundError, ProcessLookupError, EOFError, gzip.BadGzipFile, lzma.LZMAError):
        return set()
    except OSError as error:
        if error.errno == errno.EINVAL:
            return set()
        raise


def is_program(path: str) -> bool:
    """Whether a file is a program or a library: it begins as ELF has it."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read(4) == b"\x7fELF"
    except FileNotFoundError:
        return False


def in_processes(needles: Needles) -> tuple[list[list[str]], int]:
    """Secrets in the arguments and the environment of every process."""
    found = []
    pids = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  many and short-lived
    for pid in pids:
        for kind in ("cmdline", "environ"):
            try:
                names = in_file(f"/proc/{pid}/{kind}", needles, 4 * BLOCK)
                if names:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as stream:  # noqa: PTH123
                        program = stream.read().strip()
                    found += [[name, f"{kind} of {program} (process {pid})"] for name in sorted(names)]
            except OSError:
                continue  # a kernel thread, or a process that ended meanwhile
    return found, len(pids)


def in_journal(needles: Needles) -> tuple[list[list[str]], int]:
    """Secrets in any field of the journal, newest entries first."""
    argv = ["journalctl", "--no-pager", "--output=export", "--reverse"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None  # noqa: S101  asked for above
        names, read = names_in(process.stdout, needles, MOST_JOURNAL)
        process.kill()
    return [[name, "the journal"] for name in sorted(names)], read


def files_under(root: str, skip: frozenset[str]) -> Any:
    """Each regular file under a directory as (path, mode, size, whether other users can reach it)."""
    closed: set[str] = set()
    for directory, subdirectories, names in os.walk(root):
        try:
            mode = os.stat(directory).st_mode  # noqa: PTH116
        except FileNotFoundError:
            continue
        if os.path.dirname(directory) in closed or not mode & stat.S_IXOTH:  # noqa: PTH120
            closed.add(directory)
        subdirectories[:] = [
            name
            for name in subdirectories
            if name not in LIBRARIES and os.path.join(directory, name) not in skip  # noqa: PTH118
        ]
        for name in names:
            path = os.path.join(directory, name)  # noqa: PTH118
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                open_to_others = bool(status.st_mode & stat.S_IROTH) and directory not in closed
                yield path, status.st_mode, status.st_size, open_to_others


def in_files(roots: list[str], needles: Needles, most: int, skip: frozenset[str]) -> dict[str, Any]:
    """Secrets and private keys in files: those open to everybody, and who keeps them as they should."""
    result: dict[str, Any] = {"open": [], "kept": [], "open_keys": [], "keys": [], "searched": 0}
    marked = [*needles, ("a private key", KEY_MARK)]
    for root in roots:
        for path, mode, size, open_to_others in files_under(root, skip):
            if size > most:
                continue
            result["searched"] += 1
            for name in sorted(in_file(path, marked, most)):
                is_key = name == "a private key"
                if is_key and is_program(path):
                    continue  # a library of TLS has keys that it tries itself by
                kind = ("open_keys" if open_to_others else "keys") if is_key else ("open" if open_to_others else "kept")
                result[kind].append([name, f"{path} ({stat.S_IMODE(mode):04o})"])
    return result


def in_logs(root: str, needles: Needles) -> tuple[list[list[str]], int]:
    """Secrets in log files of any size; the journal's own files are read through journalctl."""
    found, searched = [], 0
    for path, _, _, _ in files_under(root, frozenset({"/var/log/journal"})):
        searched += 1
        found += [[name, path] for name in sorted(in_file(path, needles, 1 << 40))]
    return found, searched


def search_box(data: dict[str, Any]) -> dict[str, Any]:
    """Search a whole box. `data` holds `secrets`, `roots` and `most_bytes`."""
    needles = [(name, form.encode()) for name, forms in data["secrets"].items() for form in forms]
    processes, processes_searched = in_processes(needles)
    journal, journal_bytes = in_journal(needles)
    logs, logs_searched = in_logs("/var/log", needles)
    skip = frozenset(data.get("skip", ()))
    return {
        "processes": processes,
        "processes_searched": processes_searched,
        "journal": journal,
        "journal_bytes": journal_bytes,
        "logs": logs,
        "logs_searched": logs_searched,
        "files": in_files(data["roots"], needles, data["most_bytes"], skip),
    }


if __name__ == "__main__":
    json.dump(search_box(globals()["DATA"]), sys.stdout)
