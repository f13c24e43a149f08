"""Have Open WebUI run from another environment. Its database is saved first, and comes back where that fails.

Usage: switch-open-webui REQUEST

REQUEST is a JSON file: `destination` (the folder of environments), `version` (one of them), `unit`, `url` (answers when
the page does), `patience_s` (how long a start may take), `state` (the folder of its data), `user` (its owner),
`backups` (the folder of saved databases) and `keep` (how many).

`DESTINATION/current` names the environment that runs. What is under way stands in `BACKUPS/switching.json`, so that a
run that was killed is undone by the next one. The first environment of a box is named and not started: the page opens
when it has an administrator.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

from saved import Saved, SavedDatabases, SaveError, revision_of
from service import Service

_REVISIONS = "lib/python3*/site-packages/open_webui/migrations/versions/*.py"


class SwitchError(Exception):
    """Another environment runs than the wanted one; the message says which, and why."""


class Switch:
    """The environments on this machine, the one that runs, and its data."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.wanted = str(request["version"])
        self.destination = Path(request["destination"])
        self.link = self.destination / "current"
        self.service = Service(request["unit"], request["url"], request["patience_s"])
        self.saved = SavedDatabases(Path(request["backups"]), Path(request["state"]), request["user"])
        self.journal = Path(request["backups"]) / "switching.json"
        self.keep = int(request["keep"])

    @property
    def current(self) -> str | None:
        """The environment that runs, or would."""
        return str(self.link.readlink()) if self.link.is_symlink() else None

    def run(self) -> None:
        """Let the wanted environment run.

        Raises:
            SwitchError: It does not, and the former one does again, with its database.
            SaveError: There is no room to save the database, or what was saved is damaged.
        """
        self._undo_what_was_cut_off()
        former = self.current
        if former == self.wanted:
            return
        if former is None or not self.saved.database.exists():
            self._point_at(self.wanted)
            return
        chosen = self._database_for(self.wanted, self.saved.revision())  # asked first: a refusal disturbs nobody
        self.service.stop()
        try:
            before = self.saved.save(former)
        except SaveError:
            self.service.started(crashes=3)
            raise
        _say(f"The database of {former} is saved in {before.folder}")
        self._note(former, before)
        self._point_at(self.wanted)
        if chosen:
            self.saved.restore(chosen)
            _say(f"The database of {chosen.version} of {chosen.made} is back: {self.wanted} reads no newer one")
        complaint = self.service.started(crashes=1)
        told = f"{self.wanted} did not come up:\n{complaint}\n{self._back_to(former, before)}" if complaint else ""
        self.journal.unlink(missing_ok=True)
        self.saved.prune(self.keep, before)
        if told:
            raise SwitchError(told)

    def _undo_what_was_cut_off(self) -> None:
        if not self.journal.exists():
            return
        noted = json.loads(self.journal.read_text())
        if self.current == noted["to"] and self.service.answers():
            self.journal.unlink()  # only the end of that run is missing
            return
        _say(f"A switch to {noted['to']} was cut off: {self._back_to(noted['from'], self.saved.find(noted['backup']))}")

    def _back_to(self, former: str, before: Saved) -> str:
        """Let the former environment run with the database that it had; tell whether it does."""
        self.service.stop()
        self._point_at(former)
        self.saved.restore(before)
        complaint = self.service.started(crashes=3)
        self.journal.unlink(missing_ok=True)
        if complaint:
            return f"{former} is back with its database, and does not come up either:\n{complaint}"
        return f"{former} serves again, with the database that it had."

    def _database_for(self, version: str, present: str | None) -> Saved | None:
        """The saved database that an environment needs in the place of the present schema; None if it reads that.

        Raises:
            SwitchError: It reads neither the present one nor one that is saved.
        """
        known = _revisions(self.destination / version)
        if present is None or present in known:
            return None
        readable = [saved for saved in self.saved.all() if saved.revision in known]
        if readable:
            return max(readable, key=lambda saved: (saved.version == version, saved.name))
        raise SwitchError(
            f"{version} does not read the database, whose schema {present} is newer, and no older one is saved "
            f"in {self.saved.folder}. {self.current} serves on."
        )

    def _point_at(self, version: str) -> None:
        draft = self.destination / ".current.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(version)
        draft.replace(self.link)

    def _note(self, former: str, before: Saved) -> None:
        draft = self.journal.with_suffix(".new")
        draft.write_text(json.dumps({"from": former, "to": self.wanted, "backup": before.name}))
        with draft.open() as file:
            os.fsync(file.fileno())
        draft.replace(self.journal)


def _revisions(environment: Path) -> set[str]:
    """The schemas that the Open WebUI of an environment can begin with."""
    found = {revision_of(path.read_text()) for path in environment.glob(_REVISIONS)}
    return {revision for revision in found if revision}


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program of its own on the box


def main(arguments: list[str]) -> int:
    """Do what the request file says."""
    os.umask(0o077)
    request = json.loads(Path(arguments[0]).read_text())
    Path(request["backups"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    with (Path(request["backups"]) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            Switch(request).run()
        except (SwitchError, SaveError, OSError) as error:
            print(f"switch-open-webui: {error}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
