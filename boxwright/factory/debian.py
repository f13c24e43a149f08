"""Closed sets of Debian packages: resolved by apt itself, in a world of its own, out of lists that Debian signed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Literal
from urllib.parse import unquote, urlsplit

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.lock import Archive, Artefact
from boxwright.factory.vendors import VendorNeeds
from boxwright.mirrors import apt_options
from boxwright.model.debian_packages import DEBIAN_KEYRING, UnpackedPackages
from boxwright.model.site import CODENAMES, Distribution, Mirrors, RepositoryName

_ALL_COMPONENTS = "main contrib non-free non-free-firmware"
_TIMEOUT_S = 900
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>[0-9]+) \S*$", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """One suite of an archive, where it is, and the file of keys that may have signed it."""

    archive: Archive
    uri: str
    suite: str
    components: str = "main"  # none where the archive is flat
    keyring: str = DEBIAN_KEYRING

    @property
    def line(self) -> str:
        """As apt is told of it."""
        return f"deb [arch=amd64 signed-by={self.keyring}] {self.uri} {self.suite} {self.components}".rstrip()


def platform_packages(
    distribution: Distribution,
    packages: Sequence[str],
    mirrors: Mirrors,
    *,
    used_by: str,
    vendors: VendorNeeds,
    keys: Mapping[RepositoryName, Path],
) -> list[Artefact]:
    """These packages and all that they stand on, whatever a box of this release has already.

    Args:
        distribution: The release of the box.
        packages: Of the distribution, by name.
        mirrors: Resolved: no field empty.
        used_by: What the artefacts are for.
        vendors: What comes from vendors' repositories besides.
        keys: Which key each of those may be signed by.

    Raises:
        BoxwrightError: A package is not there any more, or no set fits together.
    """
    sources = _sources(distribution, mirrors)
    for name, told in vendors.repositories.items():
        sources.append(Source(name, told.uri, told.suite, " ".join(told.components), str(keys[name])))
    with _apt(sources, mirrors, provided=(), preferences=vendors.preferences) as apt:
        found = apt.resolve("install", [*packages, *vendors.packages], used_by)
        if vendors.built_with:
            found += apt.resolve("install", vendors.built_with, used_by, "-oAPT::Install-Recommends=true")
        return found


def downloaded_packages(
    distribution: Distribution, packages: Sequence[str], mirrors: Mirrors, used_by: str
) -> list[Artefact]:
    """These packages of a release alone, without what they stand on.

    Raises:
        BoxwrightError: A package is not there any more.
    """
    with _apt(_sources(distribution, mirrors), mirrors, provided=()) as apt:
        return apt.resolve("download", packages, used_by)


def _sources(distribution: Distribution, mirrors: Mirrors) -> list[Source]:
    codename = CODENAMES[distribution]
    debian, security = _addresses(mirrors)
    return [
        Source("debian", debian, codename, _ALL_COMPONENTS),
        Source("debian", debian, f"{codename}-updates", _ALL_COMPONENTS),
        Source("debian_security", security, f"{codename}-security", _ALL_COMPONENTS),
    ]


def unpacked_packages(wanted: UnpackedPackages, mirrors: Mirrors) -> list[Artefact]:
    """The packages that a box unpacks beside its system, as install-debian-root will choose them.

    Raises:
        BoxwrightError: A package is not there any more, or no set fits together.
    """
    debian, _ = _addresses(mirrors)
    sources = tuple(Source("debian", debian, suite) for suite in wanted.suites)
    with _apt(sources, mirrors, wanted.provided) as apt:
        return apt.resolve("install" if wanted.with_dependencies else "download", wanted.packages, wanted.name)


def _addresses(mirrors: Mirrors) -> tuple[str, str]:
    assert mirrors.debian  # noqa: S101  resolved by the caller
    assert mirrors.debian_security  # noqa: S101  resolved by the caller
    return mirrors.debian, mirrors.debian_security


@contextmanager
def _apt(
    sources: Sequence[Source], mirrors: Mirrors, provided: Sequence[str], preferences: Mapping[str, str] | None = None
) -> Iterator[_Apt]:
    if shutil.which("apt-get") is None:
        raise BadInputError(
            "Debian packages are resolved by apt, and this machine has none",
            hint="Lock on a Debian or Ubuntu controller. Bundles are served from any.",
        )
    with tempfile.TemporaryDirectory(prefix="bw-apt-") as folder:
        apt = _Apt(Path(folder), sources, mirrors)
        apt.prepare(provided, preferences or {})
        yield apt


class _Apt:
    """An apt that reads nothing of this machine but keyrings, and knows of no installed package."""

    def __init__(self, folder: Path, sources: Sequence[Source], mirrors: Mirrors) -> None:
        self._folder = folder
        self._sources = sources
        self._mirrors = mirrors
        kept = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "APT_CONFIG": str(folder / "apt.conf"),
            **kept,
        }

    def prepare(self, provided: Sequence[str], preferences: Mapping[str, str]) -> None:
        """Write its configuration, and read the archives' lists."""
        folder = self._folder
        for name in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "etc/sources.list").write_text("".join(f"{one.line}\n" for one in self._sources))
        for name, text in preferences.items():  # by the names that they have on a box: apt reads them in this order
            (folder / "etc/preferences.d" / f"boxwright-{name}").write_text(text)
        (folder / "state/status").write_text(
            "".join(
                f"Package: {name}\nStatus: install ok installed\nVersion: 9999\nArchitecture: amd64\n"
                "Multi-Arch: foreign\nMaintainer: none\nDescription: left out\n\n"
                for name in provided
            )
        )
        settings = [
            f'Dir::Etc "{folder}/etc"',
            f'Dir::State "{folder}/state"',
            f'Dir::State::status "{folder}/state/status"',
            f'Dir::Cache "{folder}/cache"',
            f'Dir::Log "{folder}"',
            'APT::Architecture "amd64"',
            'APT::Architectures { "amd64"; }',
            'APT::Sandbox::User "root"',
            'APT::Install-Recommends "false"',
            'APT::Update::Error-Mode "any"',
            'Acquire::Languages "none"',
            'Acquire::Retries "3"',
            *apt_options(self._mirrors),
        ]
        (folder / "apt.conf").write_text("".join(f"{line};\n" for line in settings))
        self._run("apt-get", "-q", "update")

    def resolve(
        self, how: Literal["install", "download"], packages: Sequence[str], used_by: str, *options: str
    ) -> list[Artefact]:
        """What apt would fetch for these packages."""
        told = self._run("apt-get", "-qy", *options, "--print-uris", how, *packages)
        found = [match.groupdict() for match in _URI.finditer(told)]
        names = {_name_and_version(one["file"]) for one in found}
        stanzas = self._stanzas(sorted(f"{name}={version}" for name, version in names))
        return [self._artefact(one, stanzas, used_by) for one in found]

    def _artefact(self, found: dict[str, str], stanzas: dict[str, dict[str, str]], used_by: str) -> Artefact:
        archive, path = self._place(found["uri"])
        stanza = stanzas.get(path)
        if stanza is None:
            raise BoxwrightError(f"apt knows no digest of {found['file']}")
        return Artefact(
            kind="debian",
            name=stanza["Package"],
            version=stanza["Version"],
            size=int(stanza["Size"]),
            sha256=stanza["SHA256"],
            file=path.rpartition("/")[2].replace(":", "%3a"),
            used_by=(used_by,),
            archive=archive,
            path=path,
        )

    def _stanzas(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """What the archives say of packages, by the place of their files."""
        told = self._run("apt-cache", "show", *names)
        stanzas = [dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", part, re.MULTILINE)) for part in told.split("\n\n")]
        return {normpath(one["Filename"]): one for one in stanzas if "Filename" in one}

    def _place(self, uri: str) -> tuple[Archive, str]:
        place = urlsplit(uri)
        for one in self._sources:
            base = urlsplit(f"{one.uri.rstrip('/')}/")
            if place.netloc == base.netloc and place.path.startswith(base.path):
                return one.archive, normpath(unquote(place.path.removeprefix(base.path)).lstrip("/"))
        raise BoxwrightError(f"apt wants to fetch {uri}, which is in no archive of the site")

    def _run(self, *command: str) -> str:
        try:
            done = subprocess.run(
                command, env=self._environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise BoxwrightError(
                f"{command[0]} had not read the archives after {_TIMEOUT_S / 60:.0f} min",
                where=", ".join(sorted({one.uri for one in self._sources})),
                hint="Is a mirror that slow? Name another one under mirrors of the site.",
            ) from None
        if done.returncode:
            why = re.findall(r"^E: (.*)$", done.stderr, re.MULTILINE)
            raise BoxwrightError(
                f"apt cannot resolve the packages: {why[0] if why else 'it does not say why'}",
                hint="Is a package withdrawn or misspelt? The roles and the profile's base.packages name them.",
                output=done.stdout + done.stderr,
            )
        return done.stdout


def _name_and_version(file: str) -> tuple[str, str]:
    """Of a file that apt names: name_version_architecture.deb, with a quoted colon of the epoch."""
    name, version, _ = unquote(file).split("_")
    return name, version
