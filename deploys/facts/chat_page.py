"""Facts about Open WebUI."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

_QUERY = (
    "import sqlite3,sys;"
    "c=sqlite3.connect('file:'+sys.argv[1]+'?mode=ro',uri=True);"
    "print(c.execute('select count(*) from user where email=?',(sys.argv[2],)).fetchone()[0])"
)


class AccountExists(FactBase):
    """Whether Open WebUI has an account of this address. Asked as its user, who owns SQLite's side files."""

    @staticmethod
    def default() -> bool:
        """Without a database there is no account."""
        return False

    def command(self, user: str, database: str, email: str) -> str:
        """Count the accounts."""
        query = f"python3 -c {shlex.quote(_QUERY)} {shlex.quote(database)} {shlex.quote(email.lower())}"
        return f"test ! -f {shlex.quote(database)} || runuser -u {shlex.quote(user)} -- {query} 2>/dev/null || true"

    def process(self, output: list[str]) -> bool:
        """Read the count."""
        return output[0].strip() != "0"


@dataclass(frozen=True)
class Release:
    """Which release of the page is the one that runs."""

    version: str | None  # None: none yet
    cut_off: bool  # whether a switch to another one was killed on its way


class ReleaseOnBox(FactBase):
    """The environment that `DESTINATION/current` names, and whether a switch was left unfinished."""

    @staticmethod
    def default() -> Release:
        """Nothing is installed."""
        return Release(version=None, cut_off=False)

    def command(self, destination: str, backups: str) -> str:
        """Ask for both."""
        link, journal = shlex.quote(f"{destination}/current"), shlex.quote(f"{backups}/switching.json")
        return f"readlink {link} | sed 's/^/version=/'; test ! -e {journal} || echo cut off"

    def process(self, output: list[str]) -> Release:
        """Read the lines."""
        versions = [line.removeprefix("version=") for line in output if line.startswith("version=")]
        return Release(version=next(iter(versions), None), cut_off="cut off" in output)
