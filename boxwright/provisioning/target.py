"""What a command works on: a fleet whose every host has an address, with its secrets and mirrors at hand.

Everything that can be wrong in files and arguments is found here, before anything is contacted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from boxwright import mirrors, vault
from boxwright.console.text import named
from boxwright.errors import BadInputError, did_you_mean
from boxwright.factory.offline import Door
from boxwright.model.catalogues import (
    load_accelerators,
    load_engine,
    load_models,
    load_profile,
    load_site,
    make_fleet,
    place_in_profile,
)
from boxwright.model.chat_page_check import check_chat_page
from boxwright.model.compatibility import check_drivers, check_stack
from boxwright.model.fleet import Fleet
from boxwright.model.hand_on import HandOn, HandOnVariables
from boxwright.model.profile import Profile
from boxwright.model.site import Distribution, Host, Mirrors, Site, Ssh, TwinKind
from boxwright.model.switching import MAIN, Served, serving
from boxwright.model.variables import CaCertificate, Variables
from boxwright.planning.llama_cpp_variables import check_llama_cpp
from boxwright.planning.open_webui_variables import check_page_wheels
from boxwright.planning.site_images import with_images
from boxwright.planning.sized_stack import check_disk, size_stack
from boxwright.planning.stages import stages_of
from boxwright.planning.tensorrt_llm_variables import check_tensorrt_llm_spread
from boxwright.planning.variables import deploy_variables, role_variables
from boxwright.provisioning.switched import file_of, switched
from boxwright.provisioning.twins import with_ollama, with_twins
from boxwright.reports.certificate import UsedBundle
from boxwright.transport.ssh import Endpoint

_MOST_TWINS = 64


@dataclass(frozen=True)
class Choice:
    """What a person said on the command line."""

    profile: str
    site: str = "lab"
    host: str = ""  # one of the site's hosts, or USER@ADDRESS[:PORT] instead of a site
    count: int = 0  # twins only: this many hosts instead of the site's
    distribution: str = ""  # twins only: instead of the site's
    kind: str = ""  # twins only: instead of the site's
    serves: Served | None = None  # instead of what the profile says, and of what its boxes were switched to before
    service: str = MAIN  # which of its services: the main one, or one of stack.further by its name


@dataclass(frozen=True)
class Target:
    """A fleet that is ready to be worked on."""

    fleet: Fleet
    secrets: dict[str, vault.HostSecrets]
    mirrors: Mirrors
    certificates: tuple[CaCertificate, ...]
    chain: str | None
    used: UsedBundle | None = field(default=None, kw_only=True)  # the bundle that this run serves to its boxes
    hand_on: HandOn | None = field(default=None, kw_only=True)  # what its boxes hand on to each other in this run

    def endpoint(self, host: Host) -> Endpoint:
        """The way into a host."""
        return Endpoint.of(self.fleet.site, host)

    def only(self, keep: Callable[[Host], bool]) -> Target:
        """The same target with some of its hosts."""
        left_out = self.fleet.left_out | {host.name for host in self.fleet.hosts if not keep(host)}
        return replace(self, fleet=self.fleet.model_copy(update={"left_out": left_out}))

    def variables(self, host: Host) -> tuple[tuple[Variables, ...], tuple[Variables, ...]]:
        """What the roles and what the deploys are given for a host."""
        secrets = self.secrets[host.name]
        roles = role_variables(self.fleet, host, secrets, self.certificates, self.chain)
        return roles, (*deploy_variables(self.fleet, host, secrets, self.mirrors), *self._handed_on(host))

    def _handed_on(self, host: Host) -> tuple[HandOnVariables, ...]:
        known = self.hand_on and host.name in [peer.name for peer in self.hand_on.peers]
        return (HandOnVariables(hand_on=self.hand_on),) if self.hand_on and known else ()


def choose(choice: Choice) -> Fleet:
    """Load and check what was chosen, without contacting anything.

    Raises:
        BadInputError: A name, a file or an argument is wrong.
    """
    profile, site = load_profile(choice.profile), load_site(choice.site)
    hosts = _adjusted(site, choice, profile.nodes).hosts  # among them the twins that a box of several machines needs
    meant = {host.name for host in hosts if choice.host in (host.name, host.address)}
    if choice.host and not meant:
        mistyped = choice.site not in ("", Choice.site) and not set(choice.host) & set("@.:[")
        if profile.nodes > 1 or mistyped:
            raise _no_such_host(choice, hosts, profile)
        site = single_host(choice.host)
    fleet = _with_switched(profile, site, choice)
    left_out = {host.name for host in fleet.site.hosts} - meant if meant else ()
    return fleet.model_copy(update={"left_out": frozenset(left_out)})


def _no_such_host(choice: Choice, hosts: Sequence[Host], profile: Profile) -> BadInputError:
    """What is said of a name that no host of the site has: some other machine may have it, outside of any site."""
    known = [host.name for host in hosts]
    if profile.nodes > 1:
        hint = f"A {profile.name} is {profile.nodes} machines, so it is one of the site's: {named(known)}."
    else:
        hint = f"There are: {named(known)}. A machine of no site is named as USER@ADDRESS, or without --site."
    return BadInputError(f"--host: the site has no host '{choice.host}'.{did_you_mean(choice.host, known)}", hint=hint)


def in_whole_boxes(fleet: Fleet) -> Fleet:
    """The same fleet; whoever names one of the machines that serve together means all of them."""
    meant = {one.name for host in fleet.hosts for one in fleet.box_of(host)}
    return fleet.model_copy(update={"left_out": frozenset(host.name for host in fleet.site.hosts) - meant})


def _with_switched(profile: Profile, site: Site, choice: Choice) -> Fleet:
    """The fleet with what its boxes were switched to before, or are to be switched to."""
    kept = switched(site.name, profile.name)
    if choice.serves:
        return _fleet(serving(profile, {**kept, choice.service: choice.serves}), site, choice)
    if not kept:
        return _fleet(profile, site, choice)
    try:
        return _fleet(serving(profile, kept), site, choice).model_copy(update={"switched": kept})
    except BadInputError as error:
        models = ", ".join(one.model for one in kept.values())
        where = f"{file_of(site.name)}: {models} by ./invoke models.switch; remove the entry to serve the profile's"
        error.hint = f"{error.hint}\n{where}".strip()
        raise


def _fleet(profile: Profile, site: Site, choice: Choice) -> Fleet:
    accelerators = load_accelerators()
    profile = with_images(profile, site, choice.site if choice.site.endswith(".yml") else "")
    check_drivers(profile, accelerators)
    models = load_models(further=[Path(path).expanduser() for path in site.models.catalogues])
    check_stack(profile, load_engine, accelerators, models)
    check_chat_page(
        profile,
        load_engine("open_webui"),
        models,
        lambda *keys: place_in_profile(choice.profile, ("stack", *filter(None, keys))),
    )
    profile, sized = size_stack(
        profile, models, accelerators, lambda key: place_in_profile(choice.profile, ("stack", *key.split(".")))
    )
    fleet = make_fleet(profile, _adjusted(site, choice, profile.nodes), models, accelerators)
    fleet = fleet.model_copy(update={"sized": sized})
    check_disk(fleet)
    check_llama_cpp(fleet)
    check_tensorrt_llm_spread(fleet)
    return fleet


def prepare(fleet: Fleet, progress: Callable[[str], None], *, boot: bool = True, offline: Door | None = None) -> Target:
    """Complete a fleet: read its files, make its secrets, boot its twins.

    Args:
        fleet: What was chosen.
        progress: Told what takes long, one sentence each.
        boot: Boot twins that do not run. Without it they must be there.
        offline: Gives the site the bundle that its boxes take everything from.

    Raises:
        BadInputError: A secret or a certificate is missing, or where something comes from is.
        LabError: A twin could not be booted.
    """
    secrets = vault.resolve(fleet.site)
    chain = _text(fleet.site.certificate.chain, "certificate.chain") if fleet.site.certificate else None
    site = with_twins(fleet.site, fleet.profile, progress, boot=boot) if fleet.site.twin else fleet.site
    certificates = tuple(
        CaCertificate(name=Path(path).stem, pem=_text(path, "ca_certificates")) for path in site.ca_certificates
    )
    if site.twin and "ollama" in [stage.name for stage in stages_of(fleet)]:
        site = with_ollama(site, fleet.ollama_release, progress)
    site = (offline(site) if offline else site).behind_its_bundle()
    resolved = mirrors.resolve(site.mirrors)
    if site.bundle is None:
        check_page_wheels(fleet, resolved)
    return Target(
        fleet=fleet.model_copy(update={"site": site}),
        secrets=secrets,
        mirrors=resolved,
        certificates=certificates,
        chain=chain,
        used=offline.used if offline else None,
    )


def _adjusted(site: Site, choice: Choice, nodes: int) -> Site:
    """The site with what the command line says of its twins; they are as many as one box needs, if it says nothing."""
    count = choice.count or (nodes if site.twin and len(site.hosts) < nodes else 0)
    if not count and not choice.distribution and not choice.kind:
        return site
    if site.twin is None:
        raise BadInputError(
            f"--count, --distribution and --kind are for twins, and the hosts of site '{site.name}' are real machines"
        )
    if not 0 <= count <= _MOST_TWINS:
        raise BadInputError(f"--count {count}: a lab has 1 to {_MOST_TWINS} twins")
    twin = site.twin.model_copy(
        update={
            "distribution": _one_of("distribution", choice.distribution or site.twin.distribution, Distribution),
            "kind": _one_of("kind", choice.kind or site.twin.kind, TwinKind),
        }
    )
    try:
        hosts = tuple(Host(name=f"{site.name}-{number}") for number in range(1, count + 1))
    except ValidationError:
        raise BadInputError(
            f"no twin can be called '{site.name}-1'",
            hint=f"Give site '{site.name}' a name of lower-case letters, digits and hyphens.",
        ) from None
    return site.model_copy(update={"twin": twin, "hosts": hosts or site.hosts})


def _one_of(option: str, value: str, type_of: object) -> str:
    """What was said for an option, if there is such a thing."""
    known = get_args(type_of)
    if value not in known:
        raise BadInputError(
            f"--{option}: no '{value}'.{did_you_mean(value, known)}", hint=f"There are: {', '.join(known)}."
        )
    return value


def single_host(text: str) -> Site:
    """A site of one real host, from `[USER@]ADDRESS[:PORT]`; an IPv6 address with a port stands in brackets."""
    user, _, place = text.rpartition("@")
    if bracketed := re.fullmatch(r"\[([^]]+)\](?::([^:]+))?", place):
        address, port = bracketed[1], bracketed[2]
    else:
        address, _, port = place.rpartition(":") if place.count(":") == 1 else (place, "", "")
    name = "".join(letter if letter.isalnum() else "-" for letter in address.lower())[:63].strip("-")
    try:
        ssh = Ssh(user=user or "root", port=int(port or 22))
        return Site(name=name or "host", hosts=(Host(name=name, address=address),), ssh=ssh)
    except (ValidationError, ValueError):
        raise BadInputError(
            f"--host: '{text}' is not USER@ADDRESS or USER@ADDRESS:PORT",
            hint="For example: --host root@10.0.0.5",
        ) from None


def _text(path: str, name: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{name}: cannot read {path}: {error}") from None
