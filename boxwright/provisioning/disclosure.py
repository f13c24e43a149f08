"""Shows the secrets of a host to the person who asks."""

from __future__ import annotations

from boxwright import vault
from boxwright.console import Console
from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.catalogues import load_site


def show(console: Console, site_name: str, host: str, name: str) -> None:
    """Print one secret bare, for a pipe, or all of them as a table.

    Raises:
        BadInputError: No such host or secret.
    """
    site = load_site(site_name)
    secrets = vault.resolve(site)
    host = host or site.hosts[0].name
    if host not in secrets:
        raise BadInputError(f"site '{site_name}' has no host '{host}'.{did_you_mean(host, secrets)}")
    known = {key: getattr(secrets[host], key).get_secret_value() for key in vault.SECRET_NAMES}
    if name and name not in known:
        raise BadInputError(f"no secret '{name}'.{did_you_mean(name, known)}", hint=f"There are: {', '.join(known)}.")
    if name:
        console.data("secret", {"host": host, "name": name, "value": known[name]})
        console.line(known[name])
    else:
        console.table(f"Secrets of {host}", ["Name", "Value"], list(known.items()), kind="secret")
