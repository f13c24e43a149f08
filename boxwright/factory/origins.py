"""Where the artefacts of a lock are just now: addresses out of a site's mirrors, which no lock holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from boxwright.errors import BoxwrightError
from boxwright.factory.bundle import digest_of
from boxwright.factory.card_sources import source_of
from boxwright.factory.known_files import files_of
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.registry import Registries
from boxwright.factory.vendor_keys import place_of
from boxwright.factory.vendors import vendor_repository
from boxwright.factory.wheels import Index
from boxwright.model.card_programs import CARD_PROGRAMS, CARD_PROGRAMS_DEPLOY
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.site import VENDORS, Mirrors, PackageRepository, RepositoryName, Site
from boxwright.model.weights import Weights
from boxwright.planning.weights import wanted_build

_AT_ONCE = 8
_AT_HAND = ("archive", "firmware", "installer")  # kinds that a site has, or knows the addresses of


@dataclass(frozen=True)
class Origin:
    """Where one artefact comes from."""

    artefact: Artefact
    urls: tuple[str, ...]  # or absolute paths of files of this machine
    python_packages: tuple[dict[str, Any], ...] = ()  # of files that lie in wheels
    near: str | None = None  # its path below a folder that may have it


def origins(
    artefacts: Sequence[Artefact],
    lock: Lock,
    site: Site,
    mirrors: Mirrors,
    *,
    catalogue: ModelCatalogue,
    progress: Callable[[str], None],
) -> list[Origin]:
    """Find out where artefacts are.

    Args:
        artefacts: What is to be fetched.
        lock: That names them.
        site: Whose mirrors.
        mirrors: The same, resolved.
        catalogue: Of models: digests lead to addresses.
        progress: Told what takes long.

    Raises:
        BoxwrightError: Some were withdrawn; it says which.
    """
    names = {name for one in artefacts if (name := _vendor(one))}
    vendors = {name: vendor_repository(name, site, lock) for name in sorted(names)}
    found = [_debian(one, mirrors, vendors) for one in artefacts if one.kind == "debian"]
    found += [_key(one, vendors) for one in artefacts if one.kind == "key"]
    wheels = [one for one in artefacts if one.kind == "wheel"]
    at_hand = {one.sha256: one.places for one in files_of(site)}
    found += [Origin(one, at_hand.get(one.sha256, ())) for one in artefacts if one.kind in _AT_HAND]
    sources = [one for one in artefacts if one.kind == "source"]
    at_hand |= {one.sha256: places for one in sources if (places := _for_cards(one, site, progress))}
    found += [Origin(one, at_hand[one.sha256]) for one in sources if one.sha256 in at_hand]
    indexed = [*wheels, *(one for one in sources if one.sha256 not in at_hand)]
    if indexed:
        progress(f"Looking up {len(indexed)} wheels and sources …" if sources else f"Looking up {len(wheels)} wheels …")
        with Index(mirrors) as index, ThreadPoolExecutor(_AT_ONCE) as pool:
            found += pool.map(lambda one: _indexed(one, index), indexed)
    with Registries(site) as registries:
        found += [Origin(one, (registries.address(one),)) for one in artefacts if one.kind == "image"]
    known = dict(_model_files(site, catalogue))
    found += [_model(one, known) for one in artefacts if one.kind == "model"]
    withdrawn = [one.artefact for one in found if not (one.urls or one.python_packages)]
    if withdrawn:
        raise BoxwrightError(
            f"withdrawn: {', '.join(one.title for one in withdrawn)}",
            where="the site's mirrors and catalogues",
            hint="Lock anew (./invoke bundle.lock), or fetch from a bundle that has it: --near DIR.",
        )
    return found


Vendors = Mapping[RepositoryName, PackageRepository]


def _vendor(one: Artefact) -> RepositoryName | None:
    """Whose repository has it; None where that is no vendor's."""
    named = one.name if one.kind == "key" else one.archive
    return next((name for name in VENDORS if name == named), None)


def _for_cards(one: Artefact, site: Site, progress: Callable[[str], None]) -> tuple[str, ...]:
    """Where the source of a program for cards is, if it is that: on this machine, fetched now if need be."""
    program = next((known for known in CARD_PROGRAMS if (known.name, known.version) == (one.name, one.version)), None)
    if program is None or CARD_PROGRAMS_DEPLOY not in one.used_by:
        return ()
    kept = source_of(program, site.mirrors.github, progress)
    return (str(kept),) if digest_of(kept) == one.sha256 else ()


def _debian(one: Artefact, mirrors: Mirrors, vendors: Vendors) -> Origin:
    assert one.path  # noqa: S101  every Debian package of a lock has one
    if vendor := _vendor(one):
        return Origin(one, (_below(vendors[vendor].uri, one.path),))
    base = mirrors.debian if one.archive == "debian" else mirrors.debian_security
    assert base  # noqa: S101  resolved by the caller
    return Origin(one, (_below(base, one.path),))


def _below(base: str, path: str) -> str:
    place = place_of(base).rstrip("/")
    return f"{place}/{path if place.startswith('/') else quote(path)}"


def _key(one: Artefact, vendors: Vendors) -> Origin:
    vendor = _vendor(one)
    return Origin(one, (place_of(vendors[vendor].key_url),) if vendor else ())


def _indexed(one: Artefact, index: Index) -> Origin:
    project = one.name if one.kind == "wheel" else one.project
    return Origin(one, tuple(offer.url for offer in index.offers(project) if offer.sha256 == one.sha256))


def _model(one: Artefact, known: dict[str, Origin]) -> Origin:
    return known.get(one.sha256, Origin(one, ()))


def _model_files(site: Site, catalogue: ModelCatalogue) -> Iterator[tuple[str, Origin]]:
    for model in catalogue.models:
        for build in model.builds:
            wanted = wanted_build(Weights(model, build), "/", site)
            for file in wanted.files:
                artefact = Artefact(
                    kind="model",
                    name=f"{wanted.name}/{file.name}",
                    version=build.quantization,
                    size=file.bytes,
                    sha256=file.sha256,
                    file=file.name.rpartition("/")[2],
                    used_by=("models",),
                )
                packages = tuple(one.model_dump(mode="json") for one in file.python_packages)
                yield file.sha256, Origin(artefact, file.urls, packages, f"{wanted.name}/{file.name}")
