"""Evidence that a run leaves on its boxes: made where anything that it is made of differs, and else kept as it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from boxwright import __version__, places
from boxwright.console import Console
from boxwright.model.base import Frozen, Sha256
from boxwright.model.site import Host
from boxwright.places import ROOT
from boxwright.provisioning.evidence import evidence_of, leave
from boxwright.provisioning.target import Target
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

Left = Literal["made", "kept"]
_TOLD: dict[Left, str] = {
    "made": "made anew, signed, and left in /etc/boxwright there",
    "kept": "kept, as nothing that it is made of has changed",
}


class _Note(Frozen):
    """What this controller remembers of the evidence that it left on a box.

    Attributes:
        made_of: Digest of everything that it was made of.
        files: Digests of its files and of the receipt, by name.
    """

    made_of: Sha256
    files: dict[str, Sha256]


class Evidence:
    """Has true evidence on each host that was provisioned, and tells for which it had to be made.

    Args:
        target: The hosts.
        key: Signs the statements.
    """

    def __init__(self, target: Target, key: SigningKey) -> None:
        self._target, self._key = target, key
        self._left: dict[str, Left] = {}

    def __call__(self, host: Host) -> None:
        """Leave it on a host; from a thread of that host.

        Raises:
            BoxwrightError: As for `leave_evidence`.
        """
        self._left[host.name] = leave_evidence(self._target, host, self._key)

    def show(self, console: Console) -> None:
        """Tell on which hosts it was made, and on which it was kept."""
        for what, words in _TOLD.items():
            hosts = sorted(name for name, left in self._left.items() if left == what)
            for name in hosts:
                console.data("evidence_left", {"host": name, "evidence": what})
            if hosts:
                console.info(f"Evidence of {', '.join(hosts)}: {words}.")


def leave_evidence(target: Target, host: Host, key: SigningKey) -> Left:
    """Have true evidence on a box: kept where this controller left it there, of the box as it still is.

    Args:
        target: The hosts.
        host: Which of them; its deploy lock is held.
        key: Signs the statement.

    Raises:
        UnreachableError: The box does not answer.
        BoxwrightError: It has no receipt, or could not tell what is on it.
    """
    # Makers of bills load slowly; this part of the package does not load them.
    from boxwright.factory.evidence.collect import fingerprint_of  # noqa: PLC0415

    # Asked for before the evidence is made: what changes meanwhile is noticed by the next run.
    found = fingerprint_of(target.endpoint(host), target.fleet.profile.stack.models_directory)
    made_of = _made_of(found.state, target, host, key)
    note = _read(target, host)
    if note and (note.made_of, note.files) == (made_of, found.files):
        return "kept"
    files = evidence_of(target, host, key)
    leave(target, host, files)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    _write(target, host, _Note(made_of=made_of, files=digests))
    return "made"


def _made_of(state: str, target: Target, host: Host, key: SigningKey) -> str:
    """Digest of the state of a box, and of all that this controller adds to it."""
    parts = (
        state,
        host.name,
        key.public.fingerprint,
        __version__,
        _makers(),
        target.fleet.catalogue.model_dump_json(),
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _makers() -> str:
    """Which programs make evidence: Boxwright's own as they are, and the library of bills by its version."""
    digest = hashlib.sha256(importlib.metadata.version("cyclonedx-python-lib").encode())
    for path in sorted((ROOT / "boxwright/factory/evidence").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _place(target: Target, host: Host) -> Path:
    return places.state() / "sites" / target.fleet.site.name / host.name / "evidence-left.json"


def _read(target: Target, host: Host) -> _Note | None:
    try:
        return _Note.model_validate_json(_place(target, host).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(target: Target, host: Host, note: _Note) -> None:
    write_whole(_place(target, host), note.model_dump_json().encode())
