"""Provisions boxes out of a bundle: checked whole before anything changes, and served for as long as the run takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

from boxwright.detection.collect import detect
from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory import kept_locks
from boxwright.factory.bundle import Bundle, Damage, Manifest
from boxwright.factory.lock import Lock
from boxwright.factory.needs import PLATFORM, Needs, needs_of
from boxwright.factory.openpgp import fingerprint
from boxwright.factory.reading import reading
from boxwright.factory.registry import named
from boxwright.factory.serving import PORT, address_towards, serving, table
from boxwright.factory.simulated import refuse_simulated, with_simulated
from boxwright.factory.supplied import supplied
from boxwright.factory.wheels import pinned
from boxwright.model.base import bracketed
from boxwright.model.catalogues import load_accelerators
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution, Host, ServedBundle, Site
from boxwright.reports.certificate import UsedBundle
from boxwright.signing import ForgedError, PublicKey
from boxwright.transport.ssh import Endpoint

_NAMED = 10  # damaged files that a message names
_AT_ONCE = 16


class Door:
    """Opens a checked bundle to the boxes of a site, for as long as a run takes.

    Args:
        bundle: Is served once a site asks.
        signed: Its signed list, and who signed it.
        locks: Those of the fleet's profile, by distribution.
        fleet: Whose boxes take from it.
        stack: Ends the serving.
        progress: Told where it is served.

    Attributes:
        used: What the boxes take from, as their receipts name it; None until it is opened.
    """

    def __init__(
        self,
        bundle: Bundle,
        signed: tuple[Manifest, PublicKey],
        locks: Mapping[str, Lock],
        fleet: Fleet,
        *,
        stack: contextlib.ExitStack,
        progress: Callable[[str], None],
    ) -> None:
        self._bundle, self._locks, self._fleet = bundle, locks, fleet
        self._manifest, self._key = signed
        self._stack, self._progress = stack, progress
        self._open: Lock | None = None
        self.used: UsedBundle | None = None

    def __call__(self, site: Site) -> Site:
        """The site, whose boxes take everything from the bundle.

        Raises:
            BadInputError: It has no lock of what the boxes run, or cannot be served to them.
        LockedError: Another run serves a bundle to them.
            BoxwrightError: No box tells what it runs.
        """
        hosts = [host for host in site.hosts if host.name not in self._fleet.left_out]
        found = _distribution(site, hosts)
        lock = self._locks.get(found)
        if lock is None:
            raise BadInputError(
                f"the bundle has {', '.join(one.name for one in self._locks.values())}, and the boxes run {found}",
                where=str(self._bundle.folder),
                hint=_lock_for(found, self._fleet.profile.name),
            )
        address = _address(hosts)
        doing = f"a run with --profile {self._fleet.profile.name} on site {site.name}"
        self._stack.enter_context(serving(table(self._bundle, self._manifest), address, doing=doing))
        url = f"http://{bracketed(address)}:{PORT}/{lock.name}"
        self._open, self.used = lock, _used(lock, self._manifest, self._key)
        kept_locks.keep(lock)
        self._progress(f"Serving {lock.name} to the boxes at {url} (lock {self.used.lock[:12]}…)")
        own = self._stack.enter_context(supplied(self._bundle, lock, site.artefacts))
        return site.model_copy(update={"bundle": served(self._bundle, lock, url), "artefacts": own})

    @property
    def lock(self) -> Lock:
        """What the boxes take from."""
        assert self._open  # noqa: S101  a run opens it before it asks
        return self._open

    def source(self, name: str) -> Path | None:
        """The archive of source code of a program; None where the lock has none."""
        found = next((one for one in self.lock.of("source") if one.name == name), None)
        return self._bundle.artefact(found.sha256) if found else None

    def require(self, needs: Needs, locked_with: str) -> None:
        """Raise for what is needed besides the profile, and is not in the lock that the boxes take from.

        Args:
            needs: What is.
            locked_with: The option of bundle.lock that names it.

        Raises:
            BadInputError: Something of it is not there.
        """
        missing = list(lacking(self.lock, needs))
        if missing:
            raise BadInputError(
                f"the bundle does not have what this needs besides {self.lock.profile}: {_listed(missing)}",
                where=f"{self._bundle.folder}, {self.lock.name}",
                hint=f"./invoke bundle.lock … {locked_with}, then ./invoke bundle.fetch into it.",
            )


@contextlib.contextmanager
def from_bundle(folder: str, fleet: Fleet, signer: str, progress: Callable[[str], None]) -> Iterator[Door | None]:
    """The door of a bundle that a command line names, as `offline` gives it; None where it names none.

    Raises:
        BadInputError: As for `offline`, or a signer is named of no bundle.
        BoxwrightError: As for `offline`.
    """
    refuse_signer_alone(folder, signer)
    if not folder:
        yield None
        return
    with offline(Path(folder), fleet, signer, progress) as door:
        yield door


def refuse_signer_alone(folder: str, signer: str) -> None:
    """Raise where a command line names the signer of a bundle, and no bundle.

    Raises:
        BadInputError: It does.
    """
    if signer and not folder:
        raise BadInputError("--signer is the signer of a bundle: say --bundle, too")


@contextlib.contextmanager
def offline(folder: Path, fleet: Fleet, signer: str, progress: Callable[[str], None]) -> Iterator[Door]:
    """Check a bundle for a fleet, and give what lets the fleet's site take everything from it.

    Args:
        folder: Of the bundle.
        fleet: What is to be provisioned.
        signer: Whose the bundle must be; empty: anybody's.
        progress: Told what takes long.

    Raises:
        BadInputError: There is no such bundle, or it is for something else.
        BoxwrightError: It is damaged, or not what was signed.
    """
    bundle = Bundle(folder.expanduser())
    signed = _signed(bundle, signer, progress)
    locks = _locks_for(bundle, fleet)
    as_given = with_simulated(fleet, progress)
    for lock in locks.values():
        refuse_simulated(lock, fleet.site)
        refuse_lacking(bundle, lock, needs_of(as_given, lock.distribution))
    refuse_damaged(bundle, bundle.damaged_locks(list(locks.values()), reading(progress)))
    with contextlib.ExitStack() as stack:
        yield Door(bundle, signed, locks, fleet, stack=stack, progress=progress)


def checked(bundle: Bundle, signer: str, progress: Callable[[str], None]) -> Manifest:
    """The signed list of a bundle whose locks and lists are what was signed.

    Raises:
        BadInputError: There is no bundle, or `signer` is no key.
        BoxwrightError: It is not what was signed.
    """
    return _signed(bundle, signer, progress)[0]


def trusted(bundle: Bundle, signer: str) -> tuple[Manifest, PublicKey]:
    """The signed list of a bundle, and whose it is; nothing else of it is looked at.

    Raises:
        BadInputError: There is no bundle, or `signer` is no key.
        BoxwrightError: The list is not what was signed.
    """
    try:
        return bundle.signed(signer)
    except ForgedError as error:
        raise BoxwrightError(
            f"INVALID bundle: {error}", where=str(bundle.folder), hint="Fetch it anew, or carry it over again."
        ) from None


def _signed(bundle: Bundle, signer: str, progress: Callable[[str], None]) -> tuple[Manifest, PublicKey]:
    manifest, key = trusted(bundle, signer)
    refuse_damaged(bundle, bundle.damaged_lists(manifest))
    when = f" at {manifest.signed_at}" if manifest.signed_at else ""
    progress(f"Bundle {bundle.folder}: {', '.join(bundle.locks)}, signed by {key.fingerprint}{when}")
    return manifest, key


def _used(lock: Lock, manifest: Manifest, key: PublicKey) -> UsedBundle:
    return UsedBundle(
        profile=lock.profile,
        distribution=lock.distribution,
        lock=lock.sha256,
        signed_at=manifest.signed_at,
        signing_key=key.fingerprint,
    )


def served(bundle: Bundle, lock: Lock, url: str) -> ServedBundle:
    """What a site is told of a served bundle."""
    key = (bundle.lists(lock.name) / BUNDLE_KEY).read_text(encoding="ascii")
    return ServedBundle(
        url=url,
        suite=PLATFORM,
        key=key,
        key_fingerprint=fingerprint(key),
        vendors=lock.vendors,
        registries=lock.registries,
    )


def refuse_damaged(bundle: Bundle, damages: list[Damage]) -> None:
    """Raise for what is not as it was.

    Raises:
        BoxwrightError: Something is; it names it.
    """
    if not damages:
        return
    named = "; ".join(f"{one.what}: {one.how}" for one in damages[:_NAMED])
    more = f"; and {len(damages) - _NAMED} more" if len(damages) > _NAMED else ""
    raise BoxwrightError(
        f"the bundle is damaged, so nothing was changed on any box: {named}{more}",
        where=str(bundle.folder),
        hint="./invoke bundle.verify names all of it. ./invoke bundle.fetch with the same lock fetches it again.",
    )


def refuse_lacking(bundle: Bundle, lock: Lock, needs: Needs) -> None:
    """Raise for what a profile needs now and its lock does not name.

    Raises:
        BadInputError: The profile, or Boxwright, is another than when it was locked.
    """
    missing = list(lacking(lock, needs))
    if missing:
        raise BadInputError(
            f"the bundle was made for another state of {lock.profile}: it lacks {_listed(missing)}",
            where=f"{bundle.folder}, {lock.name}",
            hint="Lock and fetch anew: ./invoke bundle.lock, ./invoke bundle.fetch. A model that the profile does not "
            "name is locked by --also MODEL/BUILD.",
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def lacking(lock: Lock, needs: Needs) -> Iterator[str]:
    """What is needed and not in a lock, by name."""
    packages = {(one.name, use): one for one in lock.of("debian") for use in one.used_by}
    wanted = [(name, PLATFORM) for name in (*needs.packages, *needs.vendors.packages, *needs.vendors.built_with)]
    wanted += [(name, unpacked.name) for unpacked in needs.unpacked for name in unpacked.packages]
    yield from (f"package {name} ({use})" for name, use in wanted if (name, use) not in packages)
    digests = {one.sha256 for one in lock.artefacts}
    python = next((one.version.partition("-")[0] for one in lock.of("debian") if one.name == "python3.11"), "")
    for environment in needs.environments:
        for line in pinned(environment.requirements, python):
            if not line.digests & digests:
                yield f"wheel {line.name} {line.version} ({environment.name})"
    yield from (f"{one.name} {one.version}" for one in needs.files if one.sha256 not in digests)
    parts = {(one.image, one.version) for one in lock.of("image")}
    yield from (f"image {one}" for one in needs.images if named(one) not in parts)
    for build in needs.builds:
        yield from (f"model file {build.name}/{file.name}" for file in build.files if file.sha256 not in digests)


def _locks_for(bundle: Bundle, fleet: Fleet) -> dict[str, Lock]:
    """The locks of a fleet's profile, by distribution; of twins, the one of theirs."""
    found: dict[str, Lock] = {
        lock.distribution: lock for lock in bundle.locks.values() if lock.profile == fleet.profile.name
    }
    twin = fleet.site.twin
    fitting = {one: lock for one, lock in found.items() if twin is None or one == twin.distribution}
    if not fitting:
        wanted = f"{fleet.profile.name}-{twin.distribution}" if twin else fleet.profile.name
        release = f" --distribution {twin.distribution}" if twin else ""
        raise BadInputError(
            f"the bundle has no lock of {wanted}; it has {', '.join(bundle.locks) or 'none'}",
            where=str(bundle.folder),
            hint=f"./invoke bundle.lock --profile {fleet.profile.name}{release}, then ./invoke bundle.fetch into it.",
        )
    return fitting


def _distribution(site: Site, hosts: Sequence[Host]) -> str:
    """What the boxes of a site run. Real ones are asked; one that does not tell keeps the others from nothing.

    Raises:
        BadInputError: They do not all run the same.
        BoxwrightError: None of them tells.
    """
    if site.twin:
        return site.twin.distribution
    catalogue = load_accelerators()

    def release(host: Host) -> str | BoxwrightError:
        try:
            return detect(Endpoint.of(site, host), catalogue).release
        except BoxwrightError as error:  # its run says the same of it
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip((host.name for host in hosts), pool.map(release, hosts), strict=True))
    found = {host: one for host, one in answers.items() if isinstance(one, str)}
    if not found:
        raise _none_told([one for one in answers.values() if isinstance(one, BoxwrightError)])
    if len(set(found.values())) > 1:
        told = ", ".join(f"{host} {one}" for host, one in found.items())
        raise BadInputError(f"one run takes one lock, and the boxes run several releases: {told}", hint="Name --host.")
    return next(iter(found.values()))


def _none_told(errors: Sequence[BoxwrightError]) -> BoxwrightError:
    """Why nobody knows what the boxes run, of one host in full."""
    first = errors[0]
    if len(errors) > 1:
        first.message = f"none of {len(errors)} boxes can be asked what it runs; of the first: {first.message}"
    return first


def _lock_for(distribution: str, profile: str) -> str:
    """What to do about boxes whose release is in no lock of a bundle."""
    known = get_args(Distribution)
    if distribution in known:
        return f"Lock for it: ./invoke bundle.lock --profile {profile} --distribution {distribution}"
    return f"Locks are of {' and '.join(known)} alone: these boxes cannot be made out of a bundle."


def _address(hosts: Sequence[Host]) -> str:
    """The one address of this machine that all boxes see."""
    found = sorted({address_towards(host.address or host.name) for host in hosts})
    if len(found) > 1:
        raise BadInputError(
            f"the boxes see this machine at several addresses: {', '.join(found)}",
            hint="Serve it at one that all of them reach (./invoke bundle.serve), and name that as the site's bundle.",
        )
    return found[0]
