"""Makes the lock of a fleet: asks the site's mirrors for everything that its boxes install."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from boxwright.factory.debian import downloaded_packages, platform_packages, unpacked_packages
from boxwright.factory.extras import Extras
from boxwright.factory.known_files import KnownFile, locked
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.needs import PLATFORM, Environment, Needs, needs_of
from boxwright.factory.registry import Registries
from boxwright.factory.source_tree import tree_of
from boxwright.factory.vendor_keys import vendor_keys
from boxwright.factory.vendors import VendorNeeds
from boxwright.factory.wheels import Index, pinned
from boxwright.model.debian_packages import PYTHON_3_11, SYSTEM, system_packages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution, Mirrors
from boxwright.model.weights import Weights


def make_lock(
    fleet: Fleet,
    distribution: Distribution,
    mirrors: Mirrors,
    progress: Callable[[str], None],
    *,
    extras: Extras = Extras(),  # noqa: B008  a frozen value
    besides: tuple[str, ...] = (),
    system: bool = False,
) -> Lock:
    """Resolve what the boxes of a fleet install on a release of a distribution.

    Args:
        fleet: What is wanted.
        distribution: Of the boxes.
        mirrors: Resolved: no field empty.
        progress: Told what takes long, one sentence each.
        extras: What is wanted besides.
        besides: Packages that boxes fetch without installing them.
        system: The operating system, too: for images of disks.

    Raises:
        BadInputError: Something of it cannot be bundled.
        BoxwrightError: A mirror does not answer, or has something no more.
    """
    needs = extras.beside(needs_of(fleet, distribution), fleet)
    found: list[Artefact] = []
    with vendor_keys(needs.vendors) as keys:
        vendors = "".join(f", {name}" for name in keys)
        count = len({*needs.packages, *needs.vendors.packages, *needs.vendors.built_with})
        progress(f"Resolving {count} packages of {distribution}{vendors} by apt …")
        paths = {name: key.path for name, key in keys.items()}
        found += platform_packages(
            distribution, needs.packages, mirrors, used_by=PLATFORM, vendors=needs.vendors, keys=paths
        )
        found += [key.artefact for key in keys.values()]
    found += downloaded_packages(distribution, besides, mirrors, PLATFORM) if besides else []
    if system:
        progress(f"Resolving the operating system of an image, {distribution} with a kernel, by apt …")
        found += platform_packages(
            distribution, system_packages(distribution), mirrors, used_by=SYSTEM, vendors=VendorNeeds(), keys={}
        )
    for one in needs.unpacked:
        progress(f"Resolving {one.name} in {' and '.join(one.suites)} …")
        found += unpacked_packages(one, mirrors)
    python = next((one.version for one in found if (one.name, one.kind) == (PYTHON_3_11.name, "debian")), "")
    with Index(mirrors) as index:
        for environment in needs.environments:
            found += _wheels(index, environment, distribution, python.partition("-")[0], progress)
        for file in needs.files:
            progress(f"Looking up {file.name} {file.version} …")
            found.append(_file(index, file))
    with Registries(fleet.site) as registries:
        for image in needs.images:
            progress(f"Looking up {image.partition('@')[0]} …")
            found += registries.artefacts(image, "images")
    found += list(_models((*fleet.all_weights, *extras.weights), needs))
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


def _file(index: Index, file: KnownFile) -> Artefact:
    if file.kind != "source":
        return locked(file)
    if file.path:
        made, archive = locked(file), Path(file.path).expanduser()
        return made.model_copy(update={"commit": file.commit, "tree": tree_of(archive, file.folder)})
    with tempfile.TemporaryDirectory(prefix="bw-source-") as folder:
        archive = index.download(file.project or "", file.sha256, Path(folder) / file.file)
        made = locked(replace(file, path=str(archive)))
        return made.model_copy(update={"commit": file.commit, "tree": tree_of(archive, file.folder)})


def _models(every: Iterable[Weights], needs: Needs) -> Iterable[Artefact]:
    weights = {one.name: one for one in every}
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
