"""A site's pinned host keys: a `known_hosts` file, as OpenSSH and paramiko read it, changed whole or not at all."""

from __future__ import annotations

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright import places
from boxwright.errors import BadInputError
from boxwright.model.site import Site


def pins_place(site: Site) -> Path:
    """Where enrolment pins the keys of a site: the file that it names, or one of its own in the state directory."""
    if site.ssh.known_hosts:
        return Path(site.ssh.known_hosts).expanduser()
    return places.state() / "sites" / site.name / "known_hosts"


def trusted(site: Site) -> Path | None:
    """The file that alone says which keys a site's hosts have; None, before enrolment: ssh's own."""
    place = pins_place(site)
    return place if site.ssh.known_hosts or place.exists() else None


class Pins:
    """A `known_hosts` file. What others wrote into it stays as it is.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, address: str, port: int) -> list[tuple[str, str]]:
        """The keys that are pinned for a place, each by its kind and its base64.

        Raises:
            BadInputError: The file cannot be read.
        """
        wanted = _name(address, port)
        return [(words[1], words[2]) for words in map(str.split, self._lines()) if _is_for(words, wanted)]

    def pin(self, address: str, port: int, keys: Sequence[tuple[str, str]]) -> None:
        """Let these be the keys of a place, instead of all that were. The file is written whole or not at all.

        Raises:
            BadInputError: The file cannot be read, or it pins the place by a pattern, which is not ours to change.
        """
        wanted = _name(address, port)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            kept = [line for number, old in enumerate(self._lines(), 1) if (line := self._without(old, number, wanted))]
            # paramiko compares names as they are written, and ssh in small letters.
            names = ",".join(dict.fromkeys((wanted, wanted.lower())))
            self._write([*kept, *(f"{names} {kind} {blob}" for kind, blob in keys)])

    def _without(self, line: str, number: int, wanted: str) -> str:
        """A line without a place; empty when nothing is left of it."""
        words = line.split()
        if not _is_for(words, wanted):
            return line
        names = [name for name in words[0].split(",") if name.lower() != wanted.lower() and not _hashed(name, wanted)]
        if any(_matches(name, wanted) for name in names):
            raise BadInputError(
                f"{wanted} is pinned here by the pattern {words[0]}",
                where=f"{self.path}:{number}",
                hint="Change that line by hand, or name a file of the site's own: ssh.known_hosts.",
            )
        return " ".join([",".join(names), *words[1:]]) if names else ""

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadInputError(f"cannot read it: {error.strerror}", where=str(self.path)) from None

    def _write(self, lines: Sequence[str]) -> None:
        path = self.path.resolve()  # a link stays one
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that enrol at the same time lose nothing of each other's."""
        lock = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _name(address: str, port: int) -> str:
    """A place as `known_hosts` names it."""
    return address if port == 22 else f"[{address}]:{port}"


def _is_for(words: Sequence[str], wanted: str) -> bool:
    """Whether a line is about a place; lines of authorities and of revoked keys begin with a marker."""
    if len(words) < 3 or words[0].startswith(("#", "@")):
        return False
    names = words[0].split(",")
    if any(name.startswith("!") and _matches(name[1:], wanted) for name in names):
        return False
    return any(_matches(name, wanted) for name in names)


def _matches(name: str, wanted: str) -> bool:
    if name.startswith("|"):
        return _hashed(name, wanted)
    literal = name.lower().replace("[", "[[]")  # brackets stand for themselves, and only * and ? are patterns
    return fnmatch.fnmatchcase(wanted.lower(), literal)


def _hashed(name: str, wanted: str) -> bool:
    """Whether a hashed name is this place's."""
    parts = name.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, wanted.lower().encode(), hashlib.sha1).digest(), digest)
