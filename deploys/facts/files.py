"""Facts about files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from pyinfra.api import FactBase


@dataclass(frozen=True)
class FileOnBox:
    """A regular file: who may read it, and what is in it."""

    mode: str
    user: str
    group: str
    sha256: str


class FileState(FactBase):
    """Mode, owner and digest of a regular file in one answer; None where there is none."""

    def command(self, path: str) -> str:
        """Ask for all of it at once."""
        quoted = shlex.quote(path)
        return f"test ! -f {quoted} || {{ stat -c '%a %U %G' {quoted} && sha256sum < {quoted}; }}"

    def process(self, output: list[str]) -> FileOnBox | None:
        """Read the two lines."""
        if len(output) < 2:
            return None
        mode, user, group = output[0].split()
        return FileOnBox(mode, user, group, output[1].split()[0])


class UnpackedVersion(FactBase):
    """The finished version that a link in a folder points at, if the version has `marker`; None otherwise."""

    def command(self, folder: str, marker: str, link: str = "current") -> str:
        """Ask where the link leads."""
        place = shlex.quote(f"{folder}/{link}")
        return f"test ! -e {place}/{shlex.quote(marker)} || readlink {place}"

    def process(self, output: list[str]) -> Any:
        """Take the link's target, which is relative."""
        return output[0] if output else None


class ConvertedModel(FactBase):
    """With what a folder was made of a model file, if that file is still the one that was verified then; or None."""

    def command(self, source: str, destination: str) -> str:
        """Ask for the note in the folder and the record beside the file."""
        folder, _, name = source.rpartition("/")
        note, record = shlex.quote(f"{destination}/.converted"), shlex.quote(f"{folder}/.{name}.verified")
        return f"test ! -f {note} || {{ cat {note} {record} 2>/dev/null || true; }}"

    def process(self, output: list[str]) -> str | None:
        """Compare the digests."""
        if len(output) < 2:
            return None
        (made_of, version), record = output[0].split(" ", 1), output[1].split()
        return version if record[2:] == [made_of] else None


class ProgramOnBox(FactBase):
    """Where a program is that somebody put into one of these folders; None where it is in none of them."""

    def command(self, program: str, folders: tuple[str, ...]) -> str:
        """Look into one folder after the other."""
        places = " ".join(shlex.quote(f"{folder}/{program}") for folder in folders)
        return f'for place in {places}; do test ! -x "$place" || {{ echo "$place"; break; }}; done'

    def process(self, output: list[str]) -> str | None:
        """Take the first."""
        return output[0] if output else None
