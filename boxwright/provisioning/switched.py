"""What boxes were switched to, kept where the secrets of their site are: `sites/SITE/switched.yml` of the state."""

from __future__ import annotations

import os
from pathlib import Path

from ruamel.yaml import YAML

from boxwright import places
from boxwright.model.loading import load
from boxwright.model.switching import Switched, SwitchedSite

_HEAD = """\
# What boxes of this site serve instead of what their profile says. Written by ./invoke models.switch, and read by every
# verb. To serve what the profile says again: ./invoke models.switch with its model, or remove the entry and provision.
"""


def file_of(site: str) -> Path:
    """Where it is kept for a site."""
    return places.state() / "sites" / site / "switched.yml"


def switched(site: str, profile: str) -> Switched | None:
    """What the boxes of a profile on a site were switched to; None where they serve what the profile says.

    Raises:
        BadInputError: The file is wrong.
    """
    return _read(site).profiles.get(profile)


def keep(site: str, profile: str, what: Switched | None) -> None:
    """Have every later run serve this; None: what the profile says.

    Raises:
        BadInputError: The file is wrong.
    """
    profiles = {name: one for name, one in _read(site).profiles.items() if name != profile}
    if what:
        profiles[profile] = what
    path = file_of(site)
    if not profiles:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    told = {name: one.model_dump(exclude_none=True) for name, one in sorted(profiles.items())}
    with draft.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        YAML().dump({"profiles": told}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def forget(site: str) -> None:
    """The boxes of a site are gone, and what they were switched to with them."""
    file_of(site).unlink(missing_ok=True)


def _read(site: str) -> SwitchedSite:
    path = file_of(site)
    return load(path, SwitchedSite) if path.exists() else SwitchedSite()
