"""Closed sets of Debian packages: resolved by apt itself, in a world of its own, out of lists that Debian signed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.lock import Artefact
from boxwright.mirrors import apt_options
from boxwright.model.debian_packages import DEBIAN_KEYRING, UnpackedPackages
from boxwright.model.site import CODENAMES, Distribution, Mirrors

Archive = Literal["debian", "debian_security"]
_ALL_COMPONENTS = "main contrib non-free non-free-firmware"
_TIMEOUT_S = 900
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>[0-9]+) \S*$", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """One suite of one of the two archives of a site."""

    archive: Archive
    suite: str
    components: str = "main"


def platform_packages(
    distribution: Distribution, packages: Sequence[str], mirrors: Mirrors, used_by: str
) -> list[Artefact]:
    """These packages and all that they stand on, whatever a box of this release has already.

    Args:
        distribution: The release of the box.
        packages: By name.
        mirrors: Resolved: no field empty.
        used_by: What the artefacts are for.

    Raises:
        BoxwrightError: A package is not there any more, or no set fits together.
    """
    codename = CODENAMES[distribution]
    sources = (
        Source("debian", codename, _ALL_COMPONENTS),
        Source("debian", f"{codename}-updates", _ALL_COMPONENTS),
        Source("debian_security", f"{codename}-security", _ALL_COMPONENTS),
    )
    with _apt(sources, mirrors, provided=()) as apt:
        return apt.resolve("install", packages, used_by)


def unpacked_packages(wanted: UnpackedPackages, mirrors: Mirrors) -> list[Artefact]:
    """The packages that a box unpacks beside its system, as install-debian-root will choose them.

    Raises:
        BoxwrightError: A package is not there any more, or no set fits together.
    """
    sources = tuple(Source("debian", suite) for suite in wanted.suites)
    with _apt(sources, mirrors, wanted.provided) as apt:
        return apt.resolve("install" if wanted.with_dependencies else "download", wanted.packages, wanted.name)


@contextmanager
def _apt(sources: Sequence[Source], mirrors: Mirrors, provided: Sequence[str]) -> Iterator[_Apt]:
    if shutil.which("apt-get") is None:
        raise BadInputError(
            "Debian packages are resolved by apt, and this machine has none",
            hint="Lock on a Debian or Ubuntu controller. Bundles are served from any.",
        )
    with tempfile.TemporaryDirectory(prefix="bw-apt-") as folder:
        apt = _Apt(Path(folder), mirrors)
        apt.prepare(sources, provided)
        yield apt


class _Apt:
    """An apt that reads nothing of this machine but Debian's keyring, and knows of no installed package."""

    def __init__(self, folder: Path, mirrors: Mirrors) -> None:
        self._folder = folder
        self._mirrors = mirrors
        kept = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "APT_CONFIG": str(folder / "apt.conf"),
            **kept,
        }

    def prepare(self, sources: Sequence[Source], provided: Sequence[str]) -> None:
        """Write its configuration, and read the archives' lists."""
        folder = self._folder
        for name in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "etc/sources.list").write_text(
            "".join(
                f"deb [arch=amd64 signed-by={DEBIAN_KEYRING}] {self._address(one.archive)} {one.suite} "
                f"{one.components}\n"
                for one in sources
            )
        )
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

    def resolve(self, how: Literal["install", "download"], packages: Sequence[str], used_by: str) -> list[Artefact]:
        """What apt would fetch for these packages."""
        told = self._run("apt-get", "-qy", "--print-uris", how, *packages)
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
            file=path.rpartition("/")[2],
            used_by=(used_by,),
            archive=archive,
            path=path,
        )

    def _stanzas(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """What the archives say of packages, by the place of their files."""
        told = self._run("apt-cache", "show", *names)
        stanzas = [dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", part, re.MULTILINE)) for part in told.split("\n\n")]
        return {one["Filename"]: one for one in stanzas if "Filename" in one}

    def _place(self, uri: str) -> tuple[Archive, str]:
        archives: tuple[Archive, ...] = ("debian", "debian_security")
        for archive in archives:
            base = urlsplit(f"{self._address(archive).rstrip('/')}/")
            place = urlsplit(uri)
            if place.netloc == base.netloc and place.path.startswith(base.path):
                return archive, unquote(place.path.removeprefix(base.path))
        raise BoxwrightError(f"apt wants to fetch {uri}, which is in no archive of the site")

    def _address(self, archive: Archive) -> str:
        address = self._mirrors.debian if archive == "debian" else self._mirrors.debian_security
        assert address  # noqa: S101  resolved by the caller
        return address

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
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
