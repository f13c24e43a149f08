"""What `enroll` does, told to a console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from boxwright.console import Console
from boxwright.detection.verbs import chosen_hosts
from boxwright.enrolment.given import HOW, names_of, read_given
from boxwright.errors import BadInputError, BoxwrightError, ChangedKeyError, Exit, UnreachableError, did_you_mean
from boxwright.model.site import Host, Site
from boxwright.transport.host_keys import HostKey, changed_key, pinned, scan
from boxwright.transport.pins import Pins, pins_place

_AT_ONCE = 16
_ENROLLED = ("pinned", "pinned anew", "already pinned")


@dataclass(frozen=True)
class Wish:
    """What a person said on the command line: fingerprints, hosts whose key was changed on purpose, and not to ask."""

    given: Mapping[str, frozenset[str]]
    replace: frozenset[str]
    yes: bool


@dataclass(frozen=True)
class Contact:
    """What a host offers, and what is pinned of it."""

    host: str
    serial: str  # on its label, where the site says: what a person in front of it sees
    address: str
    port: int
    known: tuple[HostKey, ...]
    offered: tuple[HostKey, ...]

    @property
    def changed(self) -> bool:
        """Whether it shows none of its pinned keys, or another of their kind."""
        kinds = {key.kind for key in self.known}
        same_kind = {key for key in self.offered if key.kind in kinds}
        return not same_kind or not same_kind <= set(self.known)


@dataclass(frozen=True)
class Enrolled:
    """How one host fared, with the keys that are pinned for it now."""

    host: str
    address: str
    keys: tuple[HostKey, ...]
    result: str


def enroll(console: Console, *, site: str, host: str, fingerprint: str, replace: str, yes: bool) -> Exit:
    """Pin the host keys of a site's machines, each after its fingerprint was confirmed by a person or given.

    Raises:
        BadInputError: An argument is wrong, the site's hosts are twins, or nobody is there to confirm a fingerprint.
    """
    whose, hosts = chosen_hosts(host, site)
    if whose.twin:
        raise BadInputError(
            f"the hosts of site '{whose.name}' are twins: their keys are made here, and are pinned before they boot"
        )
    wish = Wish(read_given(fingerprint, hosts), _replaced(replace, hosts), yes)
    pins = Pins(pins_place(whose))
    _refuse_unless_somebody_confirms(console, whose, hosts, pins, wish)
    console.info(f"Asking {len(hosts)} host{'s' * (len(hosts) > 1)} for their keys …")
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="enroll") as pool:
        contacts = list(pool.map(lambda one: _contact(whose, one, pins), hosts))
    owners = _owners(whose, pins)
    outcomes = []
    for met in contacts:
        outcomes.append(_outcome(console, pins, met, wish, owners))
        if isinstance(met, Contact):
            for key in met.offered:
                owners.setdefault(key.blob, met.host)
    _show(console, outcomes, pins)
    return _exit_code(outcomes)


def _owners(site: Site, pins: Pins) -> dict[str, str]:
    """Whose each pinned key is, of the hosts of a site."""
    found: dict[str, str] = {}
    for host in site.hosts:
        for key in pinned(pins, *_place(site, host)):
            found.setdefault(key.blob, host.name)
    return found


def _replaced(text: str, hosts: Sequence[Host]) -> frozenset[str]:
    known = names_of(hosts)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise BadInputError(
                f"--replace: no host '{name}' here.{did_you_mean(name, known)}",
                hint=f"There are: {', '.join(host.name for host in hosts)}.",
            )
    return frozenset(known[name] for name in names)


def _place(site: Site, host: Host) -> tuple[str, int]:
    return host.address or host.name, host.port or site.ssh.port


def _refuse_unless_somebody_confirms(
    console: Console, site: Site, hosts: Sequence[Host], pins: Pins, wish: Wish
) -> None:
    if wish.yes or console.asks:
        return
    open_ones = [
        one.name
        for one in hosts
        if one.name not in wish.given and (one.name in wish.replace or not pinned(pins, *_place(site, one)))
    ]
    if open_ones:
        raise BadInputError(
            f"nobody is here to confirm the fingerprints of {', '.join(open_ones)}",
            hint=f"Run it in a terminal to be asked; or add --yes to trust whoever answers there now. Or: {HOW}",
        )


def _contact(site: Site, host: Host, pins: Pins) -> Contact | UnreachableError:
    address, port = _place(site, host)
    try:
        offered = scan(host.name, address, port, site.ssh.connect_timeout_s)
    except UnreachableError as error:
        return error
    return Contact(host.name, host.serial or "", address, port, pinned(pins, address, port), offered)


def _outcome(
    console: Console, pins: Pins, met: Contact | UnreachableError, wish: Wish, owners: Mapping[str, str]
) -> Enrolled:
    """How a host fares. An error is told, and is this host's alone: the others go on."""
    try:
        if isinstance(met, UnreachableError):
            raise met
        return _enrolled(console, pins, met, wish, owners)
    except BoxwrightError as error:
        console.error(error)
        if isinstance(met, Contact):
            return Enrolled(met.host, met.address, met.known, _why_not(error))
        return Enrolled(error.where, "", (), _why_not(error))


def _enrolled(console: Console, pins: Pins, met: Contact, wish: Wish, owners: Mapping[str, str]) -> Enrolled:
    """Pin a host's key, if somebody vouches for it.

    Raises:
        BoxwrightError: It is another one than the pinned one, or than the one that was given, or another host's, too.
    """
    given = wish.given.get(met.host, frozenset())
    shared = _shared(met, owners)
    if met.known and not met.changed and not given - {key.fingerprint for key in met.known}:
        if shared:
            console.warning(f"{met.host}: {shared.message}. {shared.hint}")
        return Enrolled(met.host, met.address, met.known, "already pinned")
    if met.known and met.changed and met.host not in wish.replace:
        known, offered = ([key.fingerprint for key in keys] for keys in (met.known, met.offered))
        raise changed_key(met.host, met.address, met.port, known, offered)
    if shared:
        raise shared
    keys = _given_ones(met, given) if given else _confirmed(console, met, yes=wish.yes)
    if not keys:
        return Enrolled(met.host, met.address, met.known, "declined")
    pins.pin(met.address, met.port, [(key.kind, key.blob) for key in keys])
    return Enrolled(met.host, met.address, keys, "pinned anew" if met.known else "pinned")


def _shared(met: Contact, owners: Mapping[str, str]) -> BoxwrightError | None:
    """What is wrong where a host shows a key that another host of the site has; None where none does."""
    others = [(key, owner) for key in met.offered if (owner := owners.get(key.blob, met.host)) != met.host]
    if not others:
        return None
    key, other = others[0]
    return BoxwrightError(
        f"it shows the same key as {other}, {key.fingerprint}: one machine under two names, or a copied disk",
        where=met.host,
        hint="Look which machines these are. On a copied one, make keys of its own: rm /etc/ssh/ssh_host_*; "
        "ssh-keygen -A; systemctl restart ssh",
    )


def _given_ones(met: Contact, given: frozenset[str]) -> tuple[HostKey, ...]:
    keys = tuple(key for key in met.offered if key.fingerprint in given)
    if not keys:
        offered = " and ".join(key.fingerprint for key in met.offered)
        raise BoxwrightError(
            f"it offers {offered}, and {' or '.join(sorted(given))} was given",
            where=met.host,
            hint="Look at the fingerprint on its console once more. If it was given rightly, another machine answers.",
        )
    return keys


def _confirmed(console: Console, met: Contact, *, yes: bool) -> tuple[HostKey, ...]:
    """The one key that a person says yes to. The others are not pinned: nobody has compared them."""
    for key in met.known:
        console.line(f"{met.host}  was pinned as {key.words} {key.fingerprint}")
    for key in met.offered:
        console.line(f"{met.host}  {met.address} port {met.port}  {key.words:<7}  {key.fingerprint}")
    first = met.offered[0]
    if yes:
        console.warning(f"{met.host}: nobody compared its fingerprint; whoever answered is trusted from now on")
        return (first,)
    label = f" ({met.serial})" if met.serial else ""
    question = f"Does the console of {met.host}{label} show {first.fingerprint} ({first.words})?"
    return (first,) if console.confirm(question) else ()


def _why_not(error: BoxwrightError) -> str:
    if isinstance(error, ChangedKeyError):
        return "CHANGED KEY"
    return "no answer" if isinstance(error, UnreachableError) else "refused"


def _show(console: Console, outcomes: Sequence[Enrolled], pins: Pins) -> None:
    rows = []
    for one in outcomes:
        keys = one.keys or (None,)
        rows += [
            (one.host, one.address, key.words if key else "", key.fingerprint if key else "", one.result)
            for key in keys
        ]
    console.table("Host keys", ["Host", "Address", "Kind", "Fingerprint", "Result"], rows, kind="host_key")
    if any(one.result in _ENROLLED for one in outcomes):
        console.info(f"Kept in {pins.path}. A host that shows another key from now on is stopped, and no other host.")


def _exit_code(outcomes: Sequence[Enrolled]) -> Exit:
    enrolled = sum(one.result in _ENROLLED for one in outcomes)
    if enrolled == len(outcomes):
        return Exit.OK
    return Exit.PARTIAL if enrolled else Exit.ERROR
