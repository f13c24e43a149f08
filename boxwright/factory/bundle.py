"""A bundle: one folder with everything that some locks name, by digest, and a signed list of the rest.

sha256/aa/aabb…             every artefact, by its digest
locks/NAME.json             what belongs to which profile
apt/NAME/…                  lists of Debian packages, and the key that they are signed by
bundle.json, bundle.json.sig  digests of locks and lists, signed by the controller that fetched
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from boxwright.errors import BadInputError
from boxwright.factory.lock import Artefact, Lock, parse_lock
from boxwright.model.base import Frozen, Sha256
from boxwright.reporting.run_log import now
from boxwright.signing import BUNDLE_NAMESPACE, ForgedError, PublicKey, SigningKey, verify, wanted_fingerprint
from boxwright.whole_files import write_whole

_HASHED_AT_ONCE = 4
# Below the bundle: no empty, hidden or parent segments.
Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+~-]*(/[A-Za-z0-9_][A-Za-z0-9._+~-]*)*$")]


class ListedFile(Frozen):
    """A file of a bundle that is no artefact."""

    size: int
    sha256: Sha256


class Manifest(Frozen):
    """What is signed of a bundle: its locks name the artefacts.

    Attributes:
        signed_at: When; empty in bundles of an older Boxwright, which did not tell.
    """

    format: Literal[1] = 1
    signed_at: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?$")] = ""
    files: dict[Place, ListedFile]


@dataclass(frozen=True)
class Damage:
    """A file that is missing, or not what it was."""

    what: str  # as a person reads it
    where: str  # below the bundle
    how: str


class Bundle:
    """A bundle in a folder.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def artefact(self, sha256: str) -> Path:
        """Where the bytes with this digest are."""
        return self.folder / "sha256" / sha256[:2] / sha256

    def lock_file(self, name: str) -> Path:
        """Where a lock is."""
        return self.folder / "locks" / f"{name}.json"

    def lists(self, name: str) -> Path:
        """Where the lists of Debian packages of a lock are."""
        return self.folder / "apt" / name

    @cached_property
    def locks(self) -> dict[str, Lock]:
        """Its locks, by name.

        Raises:
            BadInputError: One of them is no lock.
        """
        found = {}
        for path in sorted((self.folder / "locks").glob("*.json")):
            lock = parse_lock(path.read_text(encoding="utf-8", errors="replace"), str(path))
            if lock.name != path.stem:
                raise BadInputError(f"the lock of {lock.name} is called {path.name}", where=str(path))
            found[lock.name] = lock
        return found

    def sign(self, key: SigningKey, *, own: Collection[str] = (), dropped: Collection[str] = ()) -> None:
        """Write and sign the list of everything that is no artefact.

        What was signed before is signed on: whoever has changed it meanwhile has nobody's signature for that.

        Args:
            key: Signs it.
            own: Locks that were just written: they and their lists are signed as they lie here.
            dropped: Locks that were removed.
        """
        files = {
            place: listed
            for place, listed in self._signed_before().items()
            if not any(_belongs(place, name) for name in (*own, *dropped))
        }
        written = [place for place in self._listable() if any(_belongs(place, name) for name in own)]
        files |= {place: self._listed(place) for place in written}
        data = f"{Manifest(signed_at=now(), files=dict(sorted(files.items()))).model_dump_json(indent=1)}\n".encode()
        write_whole(self._manifest, data)
        write_whole(self._signature, key.sign(data, BUNDLE_NAMESPACE).encode())

    def _listed(self, place: Place) -> ListedFile:
        path = self.folder / place
        return ListedFile(size=path.stat().st_size, sha256=digest_of(path))

    def signed(self, signer: str = "") -> tuple[Manifest, PublicKey]:
        """Its signed list, and whose it is.

        Args:
            signer: The one key that may have signed it: its fingerprint, or the path of its `.pub` file. Empty: any.

        Raises:
            BadInputError: There is no bundle, or `signer` is no key.
            ForgedError: It is not what was signed, or by another key.
        """
        wanted = wanted_fingerprint(signer)
        try:
            data, signature = self._manifest.read_bytes(), self._signature.read_text(encoding="ascii")
        except OSError as error:
            raise BadInputError(
                f"no bundle: {error.strerror or error}",
                where=str(self.folder),
                hint="Make one: ./invoke bundle.lock, then ./invoke bundle.fetch. A fetch that was cut off goes on.",
            ) from None
        except UnicodeDecodeError:
            raise ForgedError(f"{self._signature.name} is no SSH signature") from None
        key = verify(data, signature, BUNDLE_NAMESPACE)
        if wanted and key.fingerprint != wanted:
            raise ForgedError(f"it is signed by another key, {key.fingerprint}")
        try:
            return Manifest.model_validate_json(data), key
        except ValidationError:
            raise ForgedError("what is signed is no list of a bundle that this Boxwright reads") from None

    def damages(self, manifest: Manifest, progress: Callable[[int, int], None] = lambda *_: None) -> list[Damage]:
        """Read every byte of it and say what is not as it was.

        Args:
            manifest: Its signed list.
            progress: Told bytes that were read, and all of them.
        """
        found = self.damaged_lists(manifest)
        if found:  # with a damaged lock nobody knows what belongs here
            return found
        return list(self._damaged_artefacts(list(self.locks.values()), progress))

    def damaged_lists(self, manifest: Manifest, names: Collection[str] | None = None) -> list[Damage]:
        """The same of its locks and lists alone, which are small; of the locks with these names, if any are said."""
        found = list(self._damaged_lists(manifest))
        return found if names is None else [one for one in found if any(_belongs(one.where, name) for name in names)]

    def names(self, manifest: Manifest) -> list[str]:
        """Of its locks, as files are called here and in the signed list, whatever has become of them."""
        places = [*manifest.files, *self._listable()]
        return sorted({match[1] for place in places if (match := re.fullmatch(r"locks/([^/]+)\.json", place))})

    def damaged_locks(
        self, locks: Sequence[Lock], progress: Callable[[int, int], None] = lambda *_: None
    ) -> list[Damage]:
        """The same of the artefacts of some of its locks; what they have in common is read once."""
        return list(self._damaged_artefacts(locks, progress))

    def strangers(self) -> list[Path]:
        """Files of the store that no lock names."""
        wanted = {one.sha256 for lock in self.locks.values() for one in lock.artefacts}
        files = (path for path in (self.folder / "sha256").rglob("*") if path.is_file())
        return sorted(path for path in files if path.name not in wanted)

    def _signed_before(self) -> dict[Place, ListedFile]:
        try:
            return self.signed()[0].files
        except (BadInputError, ForgedError):  # the first lock of all; or somebody changed the list itself
            return {}

    @property
    def _manifest(self) -> Path:
        return self.folder / "bundle.json"

    @property
    def _signature(self) -> Path:
        return self.folder / "bundle.json.sig"

    def _damaged_lists(self, manifest: Manifest) -> Iterator[Damage]:
        for place, wanted in manifest.files.items():
            top, _, name = place.partition("/")
            title = f"lock {Path(name).stem}" if top == "locks" else f"list of Debian packages of {name.split('/')[0]}"
            how = _wrong(self.folder / place, wanted.size, wanted.sha256)
            if how:
                yield Damage(title, place, how)
        for place in self._listable():
            if place not in manifest.files:
                yield Damage("file that nobody signed", place, "not in the signed list")

    def _listable(self) -> list[str]:
        """Locks and lists, but for what a fetch that was cut off left under a hidden name."""
        found = [path for top in ("apt", "locks") for path in (self.folder / top).rglob("*") if path.is_file()]
        places = sorted(path.relative_to(self.folder) for path in found)
        return [str(place) for place in places if not any(part.startswith(".") for part in place.parts)]

    def _damaged_artefacts(self, locks: Sequence[Lock], progress: Callable[[int, int], None]) -> Iterator[Damage]:
        users: dict[str, list[str]] = {}
        artefacts: dict[str, Artefact] = {}
        for lock in locks:
            for one in lock.artefacts:
                artefacts[one.sha256] = one
                users.setdefault(one.sha256, []).append(lock.name)
        total, done = sum(one.size for one in artefacts.values()), 0
        with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
            every = list(artefacts.values())
            for one, how in zip(every, pool.map(self.wrong, every), strict=True):
                done += one.size
                progress(done, total)
                if how:
                    title = f"{one.title} ({', '.join(users[one.sha256])})"
                    yield Damage(title, str(self.artefact(one.sha256).relative_to(self.folder)), how)

    def wrong(self, one: Artefact) -> str:
        """What is wrong with the file of an artefact; empty where it is right."""
        return _wrong(self.artefact(one.sha256), one.size, one.sha256)


def _belongs(place: Place, lock: str) -> bool:
    """Whether a place of the list is of a lock, by its name."""
    return place == f"locks/{lock}.json" or place.startswith(f"apt/{lock}/")


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(path: Path, size: int, sha256: str) -> str:
    try:
        found = path.stat().st_size
        if found != size:
            return f"{found} bytes instead of {size}"
        return "" if digest_of(path) == sha256 else "its bytes are not those of its digest"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
