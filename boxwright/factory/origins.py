"""Where the artefacts of a lock are just now: addresses out of a site's mirrors, which no lock holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from boxwright.errors import BoxwrightError
from boxwright.factory.lock import Artefact
from boxwright.factory.wheels import Index
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.site import Mirrors, Site
from boxwright.model.weights import Weights
from boxwright.planning.weights import wanted_build

_AT_ONCE = 8


@dataclass(frozen=True)
class Origin:
    """Where one artefact comes from."""

    artefact: Artefact
    urls: tuple[str, ...]
    python_packages: tuple[dict[str, Any], ...] = ()  # of files that lie in wheels
    near: str | None = None  # its path below a folder that may have it


def origins(
    artefacts: Sequence[Artefact],
    site: Site,
    mirrors: Mirrors,
    catalogue: ModelCatalogue,
    progress: Callable[[str], None],
) -> list[Origin]:
    """Find out where artefacts are.

    Args:
        artefacts: What is to be fetched.
        site: Whose mirrors.
        mirrors: The same, resolved.
        catalogue: Of models: digests lead to addresses.
        progress: Told what takes long.

    Raises:
        BoxwrightError: Some were withdrawn; it says which.
    """
    found = [_debian(one, mirrors) for one in artefacts if one.kind == "debian"]
    wheels = [one for one in artefacts if one.kind == "wheel"]
    if wheels:
        progress(f"Looking up {len(wheels)} wheels …")
        with Index(mirrors) as index, ThreadPoolExecutor(_AT_ONCE) as pool:
            found += pool.map(lambda one: _wheel(one, index), wheels)
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


def _debian(one: Artefact, mirrors: Mirrors) -> Origin:
    base = mirrors.debian if one.archive == "debian" else mirrors.debian_security
    assert base  # noqa: S101  resolved by the caller
    assert one.path  # noqa: S101  every Debian package of a lock has one
    return Origin(one, (f"{base.rstrip('/')}/{quote(one.path)}",))


def _wheel(one: Artefact, index: Index) -> Origin:
    return Origin(one, tuple(offer.url for offer in index.offers(one.name) if offer.sha256 == one.sha256))


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
