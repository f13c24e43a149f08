"""Makes the lock of a fleet: asks the site's mirrors for everything that its boxes install."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from boxwright.factory.debian import platform_packages, unpacked_packages
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.needs import PLATFORM, Environment, Needs, needs_of
from boxwright.factory.wheels import Index, pinned
from boxwright.model.debian_packages import PYTHON_3_11, SYSTEM, system_packages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution, Mirrors


def make_lock(
    fleet: Fleet, distribution: Distribution, mirrors: Mirrors, progress: Callable[[str], None], *, image: bool = False
) -> Lock:
    """Resolve what the boxes of a fleet install on a release of a distribution.

    Args:
        fleet: What is wanted.
        distribution: Of the boxes.
        mirrors: Resolved: no field empty.
        progress: Told what takes long, one sentence each.
        image: The operating system, too: for images of disks.

    Raises:
        BadInputError: Something of it cannot be bundled yet.
        BoxwrightError: A mirror does not answer, or has something no more.
    """
    needs = needs_of(fleet)
    found: list[Artefact] = []
    progress(f"Resolving {len(needs.packages)} packages of {distribution} by apt …")
    found += platform_packages(distribution, needs.packages, mirrors, PLATFORM)
    if image:
        progress(f"Resolving the operating system of an image, {distribution} with a kernel, by apt …")
        found += platform_packages(distribution, system_packages(distribution), mirrors, SYSTEM)
    for one in needs.unpacked:
        progress(f"Resolving {one.name} in {' and '.join(one.suites)} …")
        found += unpacked_packages(one, mirrors)
    python = next((one.version for one in found if (one.name, one.kind) == (PYTHON_3_11.name, "debian")), "")
    with Index(mirrors) as index:
        for environment in needs.environments:
            found += _wheels(index, environment, distribution, python.partition("-")[0], progress)
    found += list(_models(fleet, needs))
    return Lock(profile=fleet.profile.name, distribution=distribution, artefacts=merged(found))


def merged(artefacts: Iterable[Artefact]) -> tuple[Artefact, ...]:
    """The same artefacts, each once and in order, with everything that uses it."""
    by_digest: dict[str, Artefact] = {}
    for one in artefacts:
        known = by_digest.get(one.sha256, one)
        uses = tuple(sorted({*known.used_by, *one.used_by}))
        by_digest[one.sha256] = known.model_copy(update={"used_by": uses})
    return tuple(sorted(by_digest.values(), key=lambda one: one.key))


def _wheels(
    index: Index,
    environment: Environment,
    distribution: Distribution,
    python: str,
    progress: Callable[[str], None],
) -> list[Artefact]:
    lines = pinned(environment.requirements, python)
    progress(f"Looking up {len(lines)} wheels of {environment.name} …")
    return index.artefacts(lines, distribution, environment.name)


def _models(fleet: Fleet, needs: Needs) -> Iterable[Artefact]:
    weights = {one.name: one for one in fleet.all_weights}
    for build in needs.builds:
        known = weights[build.name]
        for file in build.files:
            yield Artefact(
                kind="model",
                name=f"{build.name}/{file.name}",
                version=known.build.quantization,
                size=file.bytes,
                sha256=file.sha256,
                file=PurePosixPath(file.name).name,
                used_by=("models",),
                license=known.model.license,
            )
