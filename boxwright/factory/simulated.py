"""What twins are given in the place of vendors, SIMULATED, so that a lock and a bundle of theirs can hold it."""

from __future__ import annotations

import os
from collections.abc import Callable

from boxwright.errors import BadInputError
from boxwright.factory.known_files import files_of
from boxwright.factory.lock import Artefact, Lock
from boxwright.lab.vendors.docker import RUNS_DEBIANS
from boxwright.lab.vendors.ollama import GENUINE_OLLAMA
from boxwright.model.fleet import Fleet
from boxwright.model.site import VENDORS, Distribution, Site
from boxwright.planning.stages import stages_of
from boxwright.provisioning.twins import lab_of, needs_vendors, with_ollama, with_vendors

_OLLAMA = ("archive", "ollama")  # kind and name of an artefact


def with_simulated(fleet: Fleet, progress: Callable[[str], None]) -> Fleet:
    """The fleet whose site names what its twins are given; of real boxes, the fleet itself.

    Args:
        fleet: What was chosen.
        progress: Told what takes long.

    Raises:
        LabError: It cannot be made on this machine.
    """
    if fleet.site.twin is None:
        return fleet
    release = fleet.ollama_release if "ollama" in [stage.name for stage in stages_of(fleet)] else ""
    site = _given(fleet.site, release, vendors=needs_vendors(fleet.profile), progress=progress)
    return fleet.model_copy(update={"site": site})


def fetched_besides(fleet: Fleet, distribution: Distribution) -> tuple[str, ...]:
    """Packages that a SIMULATED Docker on twins of a release fetches for itself, once it is installed.

    Args:
        fleet: As it was chosen, before its site names what is simulated.
        distribution: Of the twins.
    """
    runtime = fleet.profile.container_runtime
    simulated = fleet.site.twin is not None and fleet.site.repositories.docker is None
    return RUNS_DEBIANS[distribution] if simulated and runtime and runtime.source == "docker_ce" else ()


def marked(lock: Lock, site: Site) -> Lock:
    """A lock that says of what it names which is simulated.

    Args:
        lock: As it was made.
        site: Of the boxes, as its file has it.
    """
    if site.twin is None:
        return lock
    own = {name for name, source in site.repositories if source} | {one.sha256 for one in files_of(site)}
    if os.environ.get(GENUINE_OLLAMA):
        own |= {one.sha256 for one in lock.of("archive")}

    def mark(one: Artefact) -> Artefact:
        if one.kind in ("archive", "installer"):
            made_here = one.sha256 not in own
        else:
            vendor = one.name if one.kind == "key" else one.archive
            made_here = vendor in VENDORS and vendor not in own
        return one.model_copy(update={"simulated": True}) if made_here else one

    return lock.model_copy(update={"artefacts": tuple(mark(one) for one in lock.artefacts)})


def refuse_simulated(lock: Lock, site: Site) -> None:
    """Raise where real boxes would be made of what the lab made for twins.

    Raises:
        BadInputError: They would.
    """
    told = _simulated(lock)
    if told and site.twin is None:
        raise BadInputError(
            f"{lock.name} was locked for twins, and the hosts of site '{site.name}' are real machines: {told}",
            hint=f"Lock with their own site: ./invoke bundle.lock --profile {lock.profile} --site {site.name}",
        )


def refuse_simulated_disk(lock: Lock) -> None:
    """Raise where the disk of real machines would be made of what the lab made for twins.

    Raises:
        BadInputError: It would.
    """
    if told := _simulated(lock):
        raise BadInputError(
            f"{lock.name} was locked for twins, and an image is for real machines: {told}",
            hint=f"Lock with the site of real machines: ./invoke bundle.lock --profile {lock.profile} --image --site …",
        )


def _simulated(lock: Lock) -> str:
    """What of a lock is for twins alone, in words; empty: nothing."""
    names = [one.title for one in lock.artefacts if one.simulated]
    more = f", and {len(names) - 1} more that are SIMULATED" if len(names) > 1 else ""
    return f"it has {names[0]}{more}" if names else ""


def site_with_simulated(site: Site, lock: Lock, progress: Callable[[str], None]) -> Site:
    """The same of a site whose twins are to be made of what a lock names."""
    if site.twin is None:
        return site
    release = next((one.version for one in lock.artefacts if (one.kind, one.name) == _OLLAMA), "")
    return _given(site, release, vendors=bool(lock.vendors or lock.of("installer")), progress=progress)


def _given(site: Site, release: str, *, vendors: bool, progress: Callable[[str], None]) -> Site:
    if vendors:
        site = site.model_copy(update=with_vendors(site, lab_of(site, progress).vendors_here()))
    return with_ollama(site, release, progress) if release else site
