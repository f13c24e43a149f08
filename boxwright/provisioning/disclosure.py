"""Shows the secrets of a host to the person who asks."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright import vault
from boxwright.console import Console
from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.catalogues import load_site
from boxwright.provisioning.target import single_host


def show(console: Console, site_name: str, host: str, name: str) -> None:
    """Print one secret bare, for a pipe, or all of them as a table.

    Args:
        console: Told them.
        site_name: A site by its name or its file; or the name alone of one whose file is elsewhere, or of a machine
            that was provisioned without a site, as the end of its run says it.
        host: One of its hosts, or a machine without a site as `--host` of `provision` names it. Empty: the first.
        name: Of the one secret; empty: all.

    Raises:
        BadInputError: No such host or secret.
    """
    if name and name not in vault.SECRET_NAMES:
        raise BadInputError(
            f"no secret '{name}'.{did_you_mean(name, vault.SECRET_NAMES)}",
            hint=f"There are: {', '.join(vault.SECRET_NAMES)}.",
        )
    host, known = _secrets(site_name, host)
    if name and name not in known:
        raise BadInputError(f"the secret '{name}' of {host} is not in the vault: its site reads it from elsewhere")
    if name:
        console.data("secret", {"host": host, "name": name, "value": known[name]})
        console.line(known[name])
    else:
        console.table(f"Secrets of {host}", ["Name", "Value"], list(known.items()), kind="secret")


def _secrets(site_name: str, host: str) -> tuple[str, Mapping[str, str]]:
    """The host that is meant, and what is known of it."""
    without_file = vault.kept(site_name)
    try:
        site = load_site(site_name)
    except BadInputError:
        if not without_file:
            raise
        return _one_of(site_name, without_file, host)
    names = {one.address: one.name for one in site.hosts if one.address}
    if host and host not in {one.name for one in site.hosts} | set(names) and (alone := _without_site(host)):
        return alone
    found = {
        one: {key: getattr(own, key).get_secret_value() for key in vault.SECRET_NAMES}
        for one, own in vault.resolve(site).items()
    }
    return _one_of(site_name, found, names.get(host, host))


def _one_of(site_name: str, found: Mapping[str, Mapping[str, str]], host: str) -> tuple[str, Mapping[str, str]]:
    host = host or next(iter(found))
    if host not in found:
        raise BadInputError(f"site '{site_name}' has no host '{host}'.{did_you_mean(host, found)}")
    return host, found[host]


def _without_site(host: str) -> tuple[str, Mapping[str, str]] | None:
    """A machine that was provisioned by its address alone, and what its vault has."""
    try:
        alone = single_host(host)
    except BadInputError:
        return None
    own = vault.kept(alone.name).get(alone.hosts[0].name)
    return (alone.hosts[0].name, own) if own else None
