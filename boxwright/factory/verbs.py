"""What `bundle.lock`, `.diff`, `.fetch`, `.verify`, `.serve` and `.clean` do, told to a console."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from boxwright import mirrors, places
from boxwright.console import Console
from boxwright.console.text import counted
from boxwright.errors import BadInputError, BoxwrightError, Exit, did_you_mean
from boxwright.factory.apt_lists import write_lists
from boxwright.factory.bundle import Bundle, Damage
from boxwright.factory.changes import bytes_to_fetch, changes
from boxwright.factory.credentials import headers
from boxwright.factory.extras import chosen_extras
from boxwright.factory.fetching import begin, fetch, missing
from boxwright.factory.lock import KINDS, Lock, read_lock
from boxwright.factory.locking import make_lock
from boxwright.factory.offline import checked, refuse_damaged, served, trusted
from boxwright.factory.origins import origins
from boxwright.factory.reading import megabytes, reading
from boxwright.factory.serving import PORT, serving, table
from boxwright.factory.simulated import fetched_besides, marked, site_with_simulated, with_simulated
from boxwright.model.base import bracketed
from boxwright.model.catalogues import load_models, load_site
from boxwright.model.site import Distribution, Site
from boxwright.provisioning.target import Choice, choose
from boxwright.signing import ForgedError, SigningKey
from boxwright.whole_files import write_whole


def lock(
    console: Console,
    *,
    profile: str,
    site: str,
    distribution: str,
    to: str,
    also: Sequence[str] = (),
    image: bool = False,
) -> Exit:
    """Write down every artefact of a profile on one release of one distribution.

    Args:
        console: Told what takes long.
        profile: What boxes are made into.
        site: Whose mirrors are asked.
        distribution: What the boxes run; empty: what the site's twins do.
        to: The file; empty: named after the lock.
        also: What else is to be in it: verbs that bring something to a box, and models.
        image: The operating system, too, for golden images.

    Raises:
        BadInputError: A name is wrong, or something of the profile cannot be bundled.
        BoxwrightError: A mirror has something no more.
    """
    release = _release(load_site(site), distribution)
    twin = load_site(site).twin is not None
    fleet = choose(Choice(profile=profile, site=site, distribution=release if twin else ""))
    given = with_simulated(fleet, console.info)
    extras = chosen_extras(given, also, release, console.info)
    resolved, besides = mirrors.resolve(fleet.site.mirrors), fetched_besides(fleet, release)
    made = make_lock(given, release, resolved, console.info, extras=extras, besides=besides, system=image)
    made = marked(made, fleet.site)
    path = Path(to or f"{made.name}.lock.json").expanduser()
    before = read_lock(path).text if path.exists() else ""
    write_whole(path, made.text.encode())
    _show_kinds(console, made)
    console.data("lock", {"file": str(path), "name": made.name, "changed": before != made.text})
    said = "as it was" if before == made.text else "written"
    console.success(f"{path}: {said}, {len(made.artefacts)} artefacts, {megabytes(_size(made))}.")
    if count := sum(1 for one in made.artefacts if one.simulated):
        console.warning(f"SIMULATED, as twins are given it: {count} artefacts. No real box can be made of this lock")
    return Exit.OK


def diff(console: Console, *, before: str, after: str) -> Exit:
    """Tell what differs between two locks, as a changelog.

    Raises:
        BadInputError: One of them is no lock.
    """
    old, new = read_lock(Path(before).expanduser()), read_lock(Path(after).expanduser())
    found = changes(old, new)
    if old.name != new.name:
        console.warning(f"these are locks of two things: {old.name} and {new.name}")
    for kind, title in KINDS.items():
        own = [one for one in found if one.kind == kind]
        if own:
            console.line(f"{title}s", style="bold")
        for one in own:
            console.line(f"  {one.sign} {one.name} {one.text}")
            console.data("change", {"kind": one.kind, "sign": one.sign, "name": one.name, "text": one.text})
    more = bytes_to_fetch(old, new)
    console.data("difference", {"changes": len(found), "bytes_to_fetch": more})
    if found:
        console.info(f"{counted(len(found), 'change')}; {megabytes(more)} to fetch.")
    else:
        console.info("No difference.")
    return Exit.OK


def fill(console: Console, *, lock_file: str, bundle: str, site: str, near: str) -> Exit:
    """Fetch what a lock names into a bundle, and sign it.

    Raises:
        BadInputError: The lock, the folder or the site is wrong.
        BoxwrightError: Something cannot be had; it says which.
    """
    wanted, whose = read_lock(Path(lock_file).expanduser()), load_site(site)
    target = begin(Path(bundle).expanduser())
    whose = site_with_simulated(whose, wanted, console.info)
    others = _near(near)
    resolved = mirrors.resolve(whose.mirrors)
    lacking = missing(target, wanted, others, console.info)
    have = len(wanted.artefacts) - len(lacking)
    console.info(f"{wanted.name}: {have} of {len(wanted.artefacts)} artefacts are here.")
    catalogue = load_models(further=[Path(path).expanduser() for path in whose.models.catalogues])
    found = origins(lacking, wanted, whose, resolved, catalogue=catalogue, progress=console.info)
    if found:
        total = megabytes(sum(one.size for one in lacking))
        console.info(f"Fetching {counted(len(found), 'artefact')}, {total} …")
    fetch(
        target,
        found,
        folders=[str(Path(one).expanduser()) for one in whose.models.controller_folders],
        python_index=resolved.python_index or "",
        headers=lambda: headers(whose, lacking),
        progress=console.info,
    )
    _finish(console, target, wanted)
    return Exit.OK


def _near(said: str) -> list[Bundle]:
    """The bundles of this machine that a command line names.

    Raises:
        BadInputError: One of them is none, which would be fetched by a line instead.
    """
    found = [Bundle(Path(one.strip()).expanduser()) for one in said.split(",") if one.strip()]
    for one in found:
        if not (one.folder / "sha256").is_dir():
            raise BadInputError(
                f"--near: {one.folder} is no bundle", hint="Name a folder that has one, or leave it out."
            )
    return found


def verify(console: Console, *, bundle: str, signer: str) -> Exit:
    """Read every byte of a bundle, and say what is not as it was. Exit 1: something is not.

    Raises:
        BadInputError: There is no bundle.
    """
    target = Bundle(Path(bundle).expanduser())
    try:
        manifest, key = target.signed(signer)
    except ForgedError as error:
        console.data("damage", {"what": "signed list of the bundle", "where": "bundle.json", "how": str(error)})
        raise BoxwrightError(
            f"INVALID: {error}", where=str(target.folder / "bundle.json"), hint="Fetch it anew, or carry it over again."
        ) from None
    console.info(f"Reading {target.folder}, signed by {key.fingerprint} …")
    damages = target.damages(manifest, reading(console.info))
    for one in damages:
        console.data("damage", {"what": one.what, "where": one.where, "how": one.how})
    if damages:
        raise BoxwrightError(
            f"DAMAGED: {_told(damages)}",
            where=str(target.folder),
            hint="./invoke bundle.fetch with the same lock fetches again what is damaged, or carry it over again.",
        )
    size = sum({one.sha256: one.size for lock in target.locks.values() for one in lock.artefacts}.values())
    console.data("bundle", {"valid": True, "locks": list(target.locks), "signing_key": key.fingerprint})
    console.success(f"VALID: {', '.join(target.locks)}, {megabytes(size)}, every byte as it was fetched.")
    if further := target.strangers():
        console.info(f"{counted(len(further), 'file')} besides that no lock names: ./invoke bundle.clean removes such.")
    if not signer:
        console.warning(
            "anybody can sign by a key of his own: compare the key's fingerprint with that of whoever fetched it, or "
            "give it as --signer"
        )
    return Exit.OK


def serve(console: Console, *, bundle: str, listen: str, signer: str) -> Exit:
    """Serve a bundle until somebody interrupts.

    Raises:
        BadInputError: There is no bundle, or the address is none of this machine's.
        BoxwrightError: It is not what was signed.
    """
    address, port = _place(listen)
    target = Bundle(Path(bundle).expanduser())
    manifest = checked(target, signer, console.info)
    with serving(table(target, manifest), address, port):
        for one in target.locks.values():
            url = f"http://{bracketed(address)}:{port}/{one.name}"
            told = served(target, one, url)
            console.data("serving", {"name": one.name, **told.model_dump(mode="json")})
            console.line(f"# In the site of boxes that are a {one.name}:", style="bold")
            key = "".join(f"    {line}\n" for line in told.key.strip().splitlines())
            lists = {"vendors": told.vendors, "registries": told.registries}
            further = "".join(f"  {name}: [{', '.join(values)}]\n" for name, values in lists.items() if values)
            further += f"  key_fingerprint: {told.key_fingerprint}\n"
            for file in one.of("firmware"):
                place = f"{told.file(file.sha256)}/{file.file}"
                console.line(f"# {file.title}: {place}")
                console.data("firmware", {"name": file.name, "version": file.version, "url": place})
            console.line(f"bundle:\n  url: {told.url}\n  suite: {told.suite}\n{further}  key: |\n{key}")
        console.info("Serving until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return Exit.OK


def clean(console: Console, *, bundle: str, keep: str, yes: bool) -> Exit:
    """Remove what no lock of a bundle names; with `keep`, all locks but these, first: then these alone must be whole.

    Raises:
        BadInputError: There is no bundle, or no such lock.
        BoxwrightError: A lock that stays is not what was signed.
    """
    target = Bundle(Path(bundle).expanduser())
    manifest = trusted(target, "")[0]
    names = target.names(manifest)
    kept = [name.strip() for name in keep.split(",") if name.strip()]
    for name in kept:
        if name not in names:
            raise BadInputError(f"--keep: the bundle has no lock '{name}'.{did_you_mean(name, names)}")
    refuse_damaged(target, target.damaged_lists(manifest, kept or None))
    dropped = [name for name in names if kept and name not in kept]
    staying = {one.sha256 for name in kept or names for one in read_lock(target.lock_file(name)).artefacts}
    going = sorted(path for path in _stored(target) if path.name not in staying)
    size = sum(path.stat().st_size for path in going)
    if not dropped and not going:
        console.info("Nothing to remove: every file belongs to a lock.")
        return Exit.OK
    words = f"{counted(len(going), 'file')}, {megabytes(size)}" + (f", and {_locks(dropped)}" if dropped else "")
    if not yes and not console.confirm(f"Remove {words}?"):
        console.info("Nothing was removed.")
        return Exit.OK
    for name in dropped:
        target.lock_file(name).unlink(missing_ok=True)  # a run that was killed here goes on
        shutil.rmtree(target.lists(name), ignore_errors=True)
    if dropped:
        _sign(console, target, dropped=dropped)
    for path in going:
        path.unlink()
    console.data("cleaned", {"files": len(going), "bytes": size, "locks": dropped})
    console.success(f"Removed {words}.")
    return Exit.OK


def _locks(names: Sequence[str]) -> str:
    return f"the lock{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _sign(console: Console, target: Bundle, *, own: Sequence[str] = (), dropped: Sequence[str] = ()) -> SigningKey:
    """Sign a bundle, as `Bundle.sign` has it; a word where it was signed by another key, which others may go by."""
    key = _key()
    with suppress(BadInputError, ForgedError):  # nobody has signed it yet, or not what it is now
        before = target.signed()[1]
        if key.public != before:
            console.warning(
                f"the bundle is signed by {key.public.fingerprint}, and no longer by {before.fingerprint}: whoever "
                "says --signer has to know"
            )
    target.sign(key, own=own, dropped=dropped)
    return key


def _finish(console: Console, target: Bundle, wanted: Lock) -> None:
    """Write the lists of a lock whose artefacts are all there, and sign; a bundle that is as it was stays so."""
    path = target.lock_file(wanted.name)
    if path.exists() and path.read_text(encoding="utf-8") == wanted.text and _is_whole(target):
        own = _key().public.fingerprint
        console.data("bundle", {"folder": str(target.folder), "name": wanted.name, "signing_key": own})
        console.success(f"{target.folder} has {wanted.name} whole, as before.")
        return
    console.info("Writing and signing the lists of Debian packages …")
    write_lists(target, wanted)
    write_whole(path, wanted.text.encode())
    key = _sign(console, target, own=[wanted.name])
    if strange := target.damaged_lists(target.signed()[0]):
        console.warning(f"of other locks of this bundle is not what was signed: {_told(strange)}")
    console.data("bundle", {"folder": str(target.folder), "name": wanted.name, "signing_key": key.public.fingerprint})
    console.success(f"{target.folder} has {wanted.name} whole. Signed by {key.public.fingerprint}.")


def _is_whole(target: Bundle) -> bool:
    try:
        manifest, key = target.signed()
    except (BadInputError, ForgedError):
        return False
    return key == _key().public and not target.damaged_lists(manifest)


def _key() -> SigningKey:
    return SigningKey.kept_in(places.state() / "signing")


def _stored(target: Bundle) -> Iterator[Path]:
    return (path for path in (target.folder / "sha256").rglob("*") if path.is_file())


def _release(site: Site, said: str) -> Distribution:
    """The release to lock for: as said, or that of the site's twins."""
    known: tuple[Distribution, ...] = get_args(Distribution)
    if not said and site.twin:
        return site.twin.distribution
    for one in known:
        if one == said:
            return one
    near = did_you_mean(said, known)
    raise BadInputError(
        f"--distribution: no '{said}'.{near}" if said else "bundle.lock needs --distribution: what the boxes run",
        hint=f"There are: {', '.join(known)}.",
    )


def _place(listen: str) -> tuple[str, int]:
    """Address and port of `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^:\s\[\]]+))(?::([0-9]{1,5}))?", listen)
    if match is None or not 0 < int(match[3] or PORT) < 65536:
        raise BadInputError(
            f"--listen: '{listen}' is not ADDRESS or ADDRESS:PORT", hint="An address of this machine that boxes reach."
        )
    return match[1] or match[2], int(match[3] or PORT)


def _told(damages: list[Damage]) -> str:
    return "; ".join(f"{one.what}: {one.how} ({one.where})" for one in damages)


def _size(lock: Lock) -> int:
    return sum(one.size for one in lock.artefacts)


def _show_kinds(console: Console, made: Lock) -> None:
    rows = [
        (f"{title}s", str(len(own)), megabytes(sum(one.size for one in own)))
        for kind, title in KINDS.items()
        if (own := made.of(kind))
    ]
    console.table(made.name, ["What", "Count", "Size"], rows, kind="artefacts")
