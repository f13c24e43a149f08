"""Files whose digest is known before anybody is asked: archives of releases, and what a site has at hand."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.bundle import digest_of
from boxwright.factory.lock import Artefact, Kind
from boxwright.model.card_programs import CARD_PROGRAMS_DEPLOY, CardProgram
from boxwright.model.catalogues import load_engine
from boxwright.model.llama_cpp import ProgramBuild
from boxwright.model.ollama import OllamaArchive, archive_of, pinned_releases
from boxwright.model.site import Artefact as SuppliedFile
from boxwright.model.site import AscendArtefact, FirmwareArtefact, HygonArtefact, Site

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class KnownFile:
    """A file, and where it may come from."""

    kind: Kind
    name: str
    version: str
    sha256: str
    bytes: int | None  # None: whoever has it is asked
    file: str  # its name where it is served
    used_by: str
    path: str | None  # on the controller
    urls: tuple[str, ...] = ()
    project: str | None = None  # of the Python package index, whose source distribution it is
    folder: str | None = None  # of source: below which it lies in the archive
    commit: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may be: a file of the controller, or addresses."""
        return (str(Path(self.path).expanduser().absolute()),) if self.path else self.urls


def ollama_file(archive: OllamaArchive) -> KnownFile:
    """The archive that Ollama is unpacked from."""
    return KnownFile(
        kind="archive",
        name="ollama",
        version=archive.version,
        sha256=archive.sha256,
        bytes=archive.bytes,
        file=f"ollama-linux-amd64.{archive.kind}",
        used_by="ollama",
        path=archive.path,
        urls=archive.urls,
    )


def source_file(build: ProgramBuild) -> KnownFile:
    """The source code that llama.cpp is built from."""
    source = build.source
    pinned = next((one for one in load_engine("llama_cpp").releases if one.version == build.version), None)
    commit = pinned.source.commit if pinned and pinned.source and pinned.source.sha256 == source.sha256 else None
    stem = (source.package or "llama.cpp").replace("-", "_")
    return KnownFile(
        kind="source",
        name="llama.cpp",
        version=build.version,
        sha256=source.sha256,
        bytes=None,
        file=f"{stem}-{source.package_version or build.version}.tar.gz",
        used_by="llama_cpp",
        path=source.path,
        project=source.package,
        folder=source.folder,
        commit=commit,
    )


def card_source_file(program: CardProgram, kept: Path) -> KnownFile:
    """The source code of a program that loads cards, as the controller keeps it."""
    return KnownFile(
        kind="source",
        name=program.name,
        version=program.version,
        sha256=digest_of(kept),
        bytes=None,
        file=f"{program.name}-{program.version}.tar",
        used_by=CARD_PROGRAMS_DEPLOY,
        path=str(kept),
        commit=program.revision if re.fullmatch(r"[0-9a-f]{40}", program.revision) else None,
    )


def installer_files(vendor: str, supplied: Iterable[AscendArtefact | HygonArtefact]) -> Iterator[KnownFile]:
    """Vendors' installers that a customer has got: drivers, firmware, toolkits."""
    return (_supplied("installer", f"{vendor}-{one.part}", one, vendor) for one in supplied)


def firmware_files(supplied: Iterable[FirmwareArtefact]) -> Iterator[KnownFile]:
    """Firmware of parts of the machine that a customer has got. No box reads it: a person does."""
    return (_supplied("firmware", f"{one.part}-{one.device}", one, "firmware") for one in supplied)


def _supplied(kind: Kind, name: str, one: SuppliedFile, used_by: str) -> KnownFile:
    return KnownFile(
        kind=kind,
        name=name,
        version=one.version,
        sha256=one.sha256,
        bytes=None,
        file=re.sub(r"[^A-Za-z0-9._+~%=-]", "-", Path(one.path).name).lstrip(".-"),
        used_by=used_by,
        path=one.path,
    )


def files_of(site: Site) -> Iterator[KnownFile]:
    """Every such file that a site could be asked for."""
    versions = {*(one.version for one in site.artefacts.ollama), *pinned_releases()}
    for version in sorted(versions):
        archive = archive_of(version, site.artefacts.ollama, site.mirrors.ollama_releases)
        if archive:
            yield ollama_file(archive)
    yield from installer_files("ascend", site.artefacts.ascend)
    yield from installer_files("hygon_dtk", site.artefacts.hygon_dtk)
    yield from firmware_files(site.artefacts.firmware)
    if own := site.artefacts.llama_cpp:
        yield KnownFile(
            kind="source",
            name="llama.cpp",
            version=own.version,
            sha256=own.sha256,
            bytes=None,
            file=f"llama.cpp-{own.version}.tar.gz",
            used_by="llama_cpp",
            path=own.path,
        )


def locked(known: KnownFile) -> Artefact:
    """A file as a lock names it.

    Raises:
        BadInputError: The controller's file is another than the site says, or is not there.
        BoxwrightError: Nobody tells its size.
    """
    return Artefact(
        kind=known.kind,
        name=known.name,
        version=known.version,
        size=_size_here(known) if known.path else known.bytes or _size_there(known),
        sha256=known.sha256,
        file=known.file,
        used_by=(known.used_by,),
    )


def _size_here(known: KnownFile) -> int:
    path = Path(known.places[0])
    try:
        digest, size = digest_of(path), path.stat().st_size
    except OSError as error:
        raise BadInputError(
            f"{known.name} {known.version} cannot be read: {error.strerror or error}",
            where=str(path),
            hint="The site names it under artefacts.",
        ) from None
    if digest != known.sha256:
        raise BadInputError(
            f"{known.name} {known.version} has the sha256 {digest}, and {known.sha256} is wanted",
            where=str(path),
            hint="Correct the site's artefacts, or get the file anew.",
        )
    return size


def _size_there(known: KnownFile) -> int:
    # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
    with httpx.Client(verify=ssl.create_default_context(), timeout=_TIMEOUT_S, follow_redirects=True) as client:
        reasons = []
        for url in known.urls:
            try:
                answer = client.head(url)
                answer.raise_for_status()
                return int(answer.headers["content-length"])
            except (httpx.HTTPError, KeyError, ValueError) as error:
                reasons.append(str(error))
    raise BoxwrightError(
        f"nobody tells the size of {known.name} {known.version}: {'; '.join(reasons) or 'no address is known'}",
        hint="Get the file, and name it with its path under artefacts of the site.",
    )
