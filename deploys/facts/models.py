"""Facts about the files of models."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class BuildFile:
    """A file of a build with what was verified of it."""

    size: int
    sha256: str  # as recorded when the file was verified; empty where the record no longer fits the file
    access: str  # mode, user and group


class BuildFiles(FactBase):
    """The files of a build that are there, by name, parts of files that are on their way included.

    Reads the records beside them, not 400 GB of weights, in one answer however many files there are.
    """

    default = dict

    def command(self, directory: str, names: tuple[str, ...]) -> str:
        """Ask for the state of all files, and for all records."""
        files = shlex.join(name + end for name in names for end in ("", ".part"))
        records = shlex.join(_record(name) for name in names)
        place = shlex.quote(directory)
        return (
            f"test ! -d {place} || {{ cd {place} && stat -c '%n|%s|%.9Y|%a %U %G' -- {files} 2>/dev/null; "
            f"grep -H . -- {records} 2>/dev/null; true; }}"
        )

    def process(self, output: list[str]) -> dict[str, BuildFile]:
        """Hold each file against its record."""
        records = dict(line.split(":", 1) for line in output if "|" not in line)
        found = {}
        for line in output:
            if "|" not in line:
                continue
            name, size, changed, access = line.split("|")
            record = records.get(_record(name), "").split()
            fits = record[:2] == [size, changed.replace(".", "").lstrip("0")]
            found[name] = BuildFile(int(size), record[2] if fits and len(record) == 3 else "", access)
        return found


def _record(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}.{file}.verified"
