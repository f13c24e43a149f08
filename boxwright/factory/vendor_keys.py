"""The keys of vendors' repositories: fetched, and held against the fingerprint that is known."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from boxwright.errors import BoxwrightError
from boxwright.factory.lock import Artefact
from boxwright.factory.vendors import VendorNeeds
from boxwright.model.site import PackageRepository, RepositoryName

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class VendorKey:
    """A key as it was fetched."""

    path: Path  # as long as the context lasts
    artefact: Artefact


@contextmanager
def vendor_keys(needs: VendorNeeds) -> Iterator[dict[RepositoryName, VendorKey]]:
    """The keys of these repositories, in files that apt reads.

    Raises:
        BoxwrightError: One cannot be had, or is not the known one.
    """
    with tempfile.TemporaryDirectory(prefix="bw-keys-") as folder:
        yield {name: _key(Path(folder), name, source) for name, source in needs.repositories.items()}


def place_of(address: str) -> str:
    """An address as a fetcher takes it: a path where it names a file of this machine."""
    return unquote(urlsplit(address).path) if address.startswith("file:") else address


def _key(folder: Path, name: RepositoryName, source: PackageRepository) -> VendorKey:
    data = _read(name, source)
    path = folder / f"{name}.asc"
    path.write_bytes(data)
    came = _fingerprints(path)
    if came != [source.key_fingerprint]:  # apt would trust every key of the file
        alone, found = " alone" if source.key_fingerprint in came else "", ", ".join(came) or "no key at all"
        raise BoxwrightError(
            f"{source.key_url} is not the key {source.key_fingerprint}{alone}, but {found}",
            where=f"repository {name}",
            hint="If the vendor has a new key, compare it with the vendor's own word, then write its fingerprint into "
            "the site's repositories. Of a file of several keys, put the known one alone on a mirror: gpg --export.",
        )
    artefact = Artefact(
        kind="key",
        name=name,
        version=source.key_fingerprint,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        file=f"{name}.asc",
        used_by=(name,),
    )
    return VendorKey(path, artefact)


def _read(name: RepositoryName, source: PackageRepository) -> bytes:
    place = place_of(source.key_url)
    try:
        if place.startswith("/"):
            return Path(place).read_bytes()
        # The machine's own authorities, not those of a Python package: a company's inspecting proxy is among them.
        context = ssl.create_default_context()
        answer = httpx.get(place, verify=context, timeout=_TIMEOUT_S, follow_redirects=True)
        answer.raise_for_status()
    except (OSError, httpx.HTTPError) as error:
        raise BoxwrightError(
            f"the key of repository {name} cannot be had: {error}",
            where=source.key_url,
            hint=f"Is there a copy of the repository nearby? Name it under repositories.{name} of the site.",
        ) from None
    return answer.content


def _fingerprints(path: Path) -> list[str]:
    try:
        told = subprocess.run(
            ["gpg", "--show-keys", "--with-colons", str(path)], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        raise BoxwrightError(
            "keys of vendors are read by gpg, which this machine lacks", hint="Lock on a controller that has gpg."
        ) from None
    return primary_fingerprints(told)


def primary_fingerprints(told: str) -> list[str]:
    """The fingerprints of the keys that gpg tells of in columns.

    Those of subkeys are left out: anybody can make somebody else's key a subkey of his own, under its fingerprint.
    """
    return re.findall(r"^pub:.*\n(?:rvk:.*\n)*fpr:+([0-9A-F]{40}):", told, re.MULTILINE)
