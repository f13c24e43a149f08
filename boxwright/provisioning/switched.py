"""What boxes were switched to, kept where the secrets of their site are: `sites/SITE/switched.yml` of the state."""

from __future__ import annotations

import os
from pathlib import Path

from ruamel.yaml import YAML

from boxwright import places
from boxwright.model.loading import load
from boxwright.model.switching import MAIN, Switched, SwitchedSite

_HEAD = """\
# What boxes of this site serve instead of what their profile says. Written by ./invoke models.switch, and read by every
# verb. To serve what the profile says again: ./invoke models.switch with its model, or remove the entry and provision.
"""


def file_of(site: str) -> Path:
    """Where it is kept for a site."""
    return places.state() / "sites" / site / "switched.yml"


def switched(site: str, profile: str) -> dict[str, Switched]:
    """What the boxes of a profile on a site were switched to, by the names of services; the others serve the profile's.

    Raises:
        BadInputError: The file is wrong.
    """
    return _read(site).of(profile)


def keep(site: str, profile: str, what: Switched | None, service: str = MAIN) -> None:
    """Have every later run serve this by a service; None: what the profile says.

    Raises:
        BadInputError: The file is wrong.
    """
    kept = _read(site)
    every = {name: kept.of(name) for name in {*kept.profiles, *kept.further, profile}}
    every[profile] = {name: one for name, one in every[profile].items() if name != service}
    if what:
        every[profile][service] = what
    told: dict[str, dict[str, object]] = {"profiles": {}, "further": {}}
    for name, services in sorted(every.items()):
        dumped = {one: chosen.model_dump(exclude_none=True) for one, chosen in sorted(services.items())}
        if main := dumped.pop(MAIN, None):
            told["profiles"][name] = main
        if dumped:
            told["further"][name] = dumped
    path = file_of(site)
    if not any(told.values()):
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        YAML().dump({name: part for name, part in told.items() if part}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def forget(site: str) -> None:
    """The boxes of a site are gone, and what they were switched to with them."""
    file_of(site).unlink(missing_ok=True)


def _read(site: str) -> SwitchedSite:
    path = file_of(site)
    return load(path, SwitchedSite) if path.exists() else SwitchedSite()
