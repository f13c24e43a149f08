"""What `image.build` does, told to a console."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from boxwright import __version__, places
from boxwright.console import Console
from boxwright.errors import BadInputError, Exit, did_you_mean
from boxwright.factory.bundle import Bundle, digest_of
from boxwright.factory.evidence.inventory import Inventory
from boxwright.factory.evidence.names import BILL, PROVENANCE
from boxwright.factory.image.wanted import Wanted
from boxwright.factory.lock import Lock
from boxwright.factory.needs import needs_of
from boxwright.factory.offline import checked, refuse_damaged, refuse_lacking
from boxwright.factory.reading import megabytes, reading
from boxwright.factory.simulated import refuse_simulated_disk
from boxwright.lab.commands import locked
from boxwright.model.catalogues import load_profile
from boxwright.model.debian_packages import SYSTEM, system_packages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution
from boxwright.provisioning.evidence import signing_key
from boxwright.provisioning.source import revision
from boxwright.provisioning.target import Choice, choose
from boxwright.reporting.run_log import now, operator
from boxwright.reports.certificate import Receipt
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

_PUBLIC_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+|sk-\S+) ([A-Za-z0-9+/=]+)( [^\n\"]*)?")
_KEY_HINT = "The .pub file of the key that the site of the boxes has as ssh.key: --key ~/.ssh/id_ed25519.pub"


@dataclass(frozen=True)
class Asked:
    """What a person said on the command line."""

    profile: str
    bundle: str
    key: str
    distribution: str
    to: str
    signer: str
    without_stack: bool  # the machine alone, where the stack cannot be put on a disk


def build(console: Console, asked: Asked) -> Exit:
    """Make the golden image of a profile out of a bundle, with its evidence.

    Raises:
        BadInputError: An argument is wrong, or the bundle is for something else.
        BoxwrightError: The bundle is damaged, a stage failed, or a tool.
    """
    profile = load_profile(asked.profile)
    key = public_key(Path(asked.key).expanduser())
    bundle = Bundle(Path(asked.bundle).expanduser().absolute())
    manifest = checked(bundle, asked.signer, console.info)
    lock = chosen_lock(bundle, profile.name, asked.distribution)
    refuse_without_system(lock, bundle.folder)
    refuse_simulated_disk(lock)
    fleet = fleet_of_image(asked.profile, lock)
    refuse_missing_stack(fleet, asked_without=asked.without_stack)
    refuse_lacking(bundle, lock, needs_of(fleet, lock.distribution))
    console.info("Holding every file of the bundle against its digest …")
    refuse_damaged(bundle, bundle.damaged_locks([lock], reading(console.info)))
    folder = Path(asked.to).expanduser().absolute() if asked.to else places.state() / "images" / lock.name
    with locked(places.state() / "images" / f".{lock.name}.lock", console.info):
        _make(console, Wanted(fleet, bundle, manifest, lock, key, folder))
    return Exit.OK


def public_key(path: Path) -> str:
    """The one public key in a file, without its comment: a person's name is no business of an image.

    Raises:
        BadInputError: There is none, or it is a private one.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"--key: cannot read it: {error}", where=str(path), hint=_KEY_HINT) from None
    if "PRIVATE KEY" in text:
        raise BadInputError("--key: this is a private key, which no image may have", where=str(path), hint=_KEY_HINT)
    match = _PUBLIC_KEY.fullmatch(text)
    if match is None:
        raise BadInputError("--key: this is not one public key of ssh", where=str(path), hint=_KEY_HINT)
    return f"{match[1]} {match[2]}"


def chosen_lock(bundle: Bundle, profile: str, distribution: str) -> Lock:
    """The lock of a profile; of several distributions, the one that was said.

    Raises:
        BadInputError: There is none, or several.
    """
    known = get_args(Distribution)
    if distribution and distribution not in known:
        raise BadInputError(
            f"--distribution: no '{distribution}'.{did_you_mean(distribution, known)}",
            hint=f"There are: {', '.join(known)}.",
        )
    fitting = [one for one in bundle.locks.values() if one.profile == profile]
    fitting = [one for one in fitting if distribution in ("", one.distribution)]
    if not fitting:
        wanted = f"{profile}-{distribution}" if distribution else profile
        raise BadInputError(
            f"the bundle has no lock of {wanted}; it has {', '.join(bundle.locks) or 'none'}",
            where=str(bundle.folder),
            hint=f"./invoke bundle.lock --profile {profile} --image, then ./invoke bundle.fetch into it.",
        )
    if len(fitting) > 1:
        names = ", ".join(one.distribution for one in fitting)
        raise BadInputError(f"the bundle has {profile} for several releases: {names}", hint="Say --distribution.")
    return fitting[0]


def refuse_without_system(lock: Lock, where: Path) -> None:
    """Raise for a lock that boxes can be provisioned from, and no image be made.

    Raises:
        BadInputError: It is one.
    """
    there = {one.name for one in lock.of("debian") if SYSTEM in one.used_by}
    lacking = [name for name in system_packages(lock.distribution) if not name.startswith("?") and name not in there]
    if lacking:
        raise BadInputError(
            f"the lock has no operating system for an image: it lacks {', '.join(lacking[:5])}"
            + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""),
            where=f"{where}, {lock.name}",
            hint=f"Lock and fetch anew: ./invoke bundle.lock --profile {lock.profile} --image, ./invoke bundle.fetch.",
        )


def refuse_missing_stack(fleet: Fleet, *, asked_without: bool) -> None:
    """Raise where an image would be without the stack of its profile, and nobody said that it may.

    Args:
        fleet: Of the container that becomes the image.
        asked_without: Whether the image of the machine alone was asked for.

    Raises:
        BadInputError: It would; or the other way round, the machine alone is asked for, and its stack is there.
    """
    name, reason = fleet.profile.name, fleet.without_stack
    if reason and not asked_without:
        raise BadInputError(
            f"no image of {name} can have its stack and its models: it is provisioned in a container, and {reason}",
            hint="--without-stack makes an image of the machine alone; ./invoke provision puts the rest on each box.",
        )
    if asked_without and not reason:
        raise BadInputError(f"--without-stack: the stack of {name} can be put on its image", hint="Leave it out.")


def fleet_of_image(profile: str, lock: Lock) -> Fleet:
    """One twin of the profile, on a site of nobody's: what a site says comes when the box is provisioned there."""
    with tempfile.TemporaryDirectory(prefix="bw-image-") as folder:
        site = Path(folder, "site.yml")
        site.write_text(
            f"name: image-{lock.profile}\ntwin: {{distribution: {lock.distribution}}}\nhosts: [{{name: box}}]\n"
        )
        fleet = choose(Choice(profile=profile, site=str(site)))
    if len(fleet.hosts) > 1 or fleet.profile.nodes > 1:
        raise BadInputError(f"a box of {lock.profile} is several machines: there is no one image of it")
    return fleet


def _make(console: Console, wanted: Wanted) -> None:
    from boxwright.factory.image import tools  # noqa: PLC0415  with what follows, half a second to load
    from boxwright.factory.image.building import build as build_image  # noqa: PLC0415

    tools.ensure(console.info)
    signer = signing_key(console)  # refuses here, before anything is built
    for name in (PROVENANCE, wanted.image, f"{wanted.image}.sha256"):
        (wanted.folder / name).unlink(missing_ok=True)  # of a former build: what is here is of one
    began, started = time.monotonic(), now()
    inventory = build_image(wanted, console)
    run = Receipt(
        profile=wanted.lock.profile,
        provisioned_at=now(),
        started_at=started,
        by=operator(),
        boxwright_version=__version__,
        source_revision=revision(),
    )
    sha256 = _write_evidence(wanted, inventory, run, signer)
    _show(console, wanted, sha256, signer.public.fingerprint, time.monotonic() - began)


def _write_evidence(wanted: Wanted, inventory: Inventory, run: Receipt, signer: SigningKey) -> str:
    """Put its evidence beside an image; return the image's digest."""
    from boxwright.factory.evidence.envelope import seal  # noqa: PLC0415
    from boxwright.factory.image import tools  # noqa: PLC0415
    from boxwright.factory.image.evidence import bill, statement  # noqa: PLC0415
    from boxwright.factory.image.finishing import TREE  # noqa: PLC0415

    folder, epoch = wanted.folder, wanted.identity.epoch
    write_whole(folder / wanted.lock_copy, wanted.lock.text.encode())
    write_whole(folder / BILL, bill(inventory, wanted.lock, epoch, wanted.fleet.catalogue))
    digests = {name: digest_of(folder / name) for name in (wanted.image, BILL, TREE, wanted.lock_copy)}
    stated = statement(
        digests,
        wanted.lock,
        run,
        epoch=epoch,
        authorized_key=wanted.authorized_key,
        stack=not wanted.fleet.without_stack,
        tools=tools.versions(),
    )
    write_whole(folder / PROVENANCE, seal(stated, signer))
    return digests[wanted.image]


def _show(console: Console, wanted: Wanted, sha256: str, signer: str, seconds: float) -> None:
    path = wanted.folder / wanted.image
    status = path.stat()
    filled = status.st_blocks * 512
    console.data(
        "image",
        {
            "file": str(path),
            "sha256": sha256,
            "bytes": status.st_size,
            "bytes_on_disk": filled,
            "signing_key": signer,
            "seconds": round(seconds, 1),
        },
    )
    sizes = f"{megabytes(status.st_size)}, of which {megabytes(filled)} are not empty"
    console.success(f"{path}: {sizes}, after {seconds / 60:.1f} min.")
    console.line(f"sha256 {sha256}")
    console.info(f"Beside it: the list of its files, its bill of materials, and the statement signed by {signer}.")
    console.info("Write it to a disk, boot, and compare what the console shows: ./invoke enroll, ./invoke provision.")
