"""Secrets: made once, kept encrypted by Ansible's vault, or read from where the site says.

The vault is a file of the controller's state directory, one per site. Its password is a file outside every
repository: `$BOXWRIGHT_VAULT_PASSWORD_FILE`, or one that is made at first use.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from boxwright import places
from boxwright.errors import BadInputError
from boxwright.model.base import Frozen
from boxwright.model.site import Site


def _word(length: int) -> str:
    """A random word of so many bytes; 24 bytes are 192 bits.

    It does not begin with a dash, as one in 64 would: vLLM makes words of a command line of its configuration, takes
    such a key for a flag, and ends.
    """
    while (word := secrets.token_urlsafe(length)).startswith("-"):
        pass
    return word


_MAKERS = {
    "api_password": lambda: _word(24),
    "api_key": lambda: "sk-" + _word(32),
    "engine_key": lambda: _word(32),
    "webui_admin_password": lambda: _word(24),
    "webui_secret_key": lambda: _word(32),
}
SECRET_NAMES = tuple(_MAKERS)
TOKEN_NAMES = ("huggingface_token", "modelscope_token")  # of model hubs: read where a site has them, made by nobody

# What a secret of the customer's own must look like. Keys travel in headers and stand in configuration files;
# bcrypt, which the gateway and the chat page hash passwords with, ignores what comes after byte 72.
_KEY = re.compile(r"(?!-)[A-Za-z0-9._~+/=-]{16,}")
_KEY_RULE = "at least 16 characters out of A-Z a-z 0-9 . _ ~ + / = -, not beginning with a dash"
_TOKEN_RULE = "one word without spaces"  # noqa: S105  a rule, not a token
_PASSWORD_RULE = "one line of 8 to 72 bytes"  # noqa: S105  a rule, not a password


class HostSecrets(Frozen):
    """The secrets of one box, in memory. None of them shows in a `repr`."""

    api_password: SecretStr
    api_key: SecretStr
    engine_key: SecretStr
    webui_admin_password: SecretStr
    webui_secret_key: SecretStr
    tls_private_key: SecretStr | None = None
    huggingface_token: SecretStr | None = None
    modelscope_token: SecretStr | None = None

    def values(self) -> list[str]:
        """Every secret in clear, for redaction and for leak checks."""
        every = [getattr(self, name) for name in type(self).model_fields]
        return [secret.get_secret_value() for secret in every if secret is not None]


def resolve(site: Site, *, vault_path: Path | None = None) -> dict[str, HostSecrets]:
    """The secrets of every host of a site; those of the vault are made when they are not there yet.

    Raises:
        BadInputError: A reference leads nowhere, or the vault does not open.
    """
    references = {name: getattr(site.secrets, name) for name in SECRET_NAMES}
    shared = {name: _read(reference, name) for name, reference in references.items() if reference != "vault"}
    if site.certificate is not None:
        shared["tls_private_key"] = _read(site.certificate.private_key, "certificate.private_key")
    shared |= hub_tokens(site)
    kept = [name for name, reference in references.items() if reference == "vault"]
    own = _kept(vault_path or vault_file(site.name), [host.name for host in site.hosts], kept)
    return {host.name: HostSecrets(**shared, **own[host.name]) for host in site.hosts}


def kept(site_name: str) -> dict[str, dict[str, str]]:
    """What the vault of a site has, by host and name; nothing where there is none. Nothing is made.

    Raises:
        BadInputError: The vault does not open.
    """
    known = [path.name for path in (places.state() / "sites").glob("*") if path.is_dir()]
    return _decrypted(vault_file(site_name)) if site_name in known else {}


def hub_tokens(site: Site) -> dict[str, SecretStr]:
    """The tokens that a site has of model hubs, by the names that its secrets have for them.

    Raises:
        BadInputError: A reference leads nowhere.
    """
    references = {name: getattr(site.secrets, name) for name in TOKEN_NAMES}
    return {name: _read(reference, name) for name, reference in references.items() if reference}


def vault_file(site_name: str) -> Path:
    """Where the vault of a site is kept."""
    return places.state() / "sites" / site_name / "secrets.vault"


def _read(reference: str, name: str) -> SecretStr:
    kind, _, place = reference.partition(":")
    if kind == "env":
        value = os.environ.get(place, "")
        made = f", or set secrets.{name} to 'vault' to have one made" if name in SECRET_NAMES else ""
        hint = f"Export {place}{made}."
    else:
        try:
            value = Path(place).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(
                f"the secret '{name}' cannot be read from {place}: {error}",
                hint="Write the file with mode 0600, or correct the reference in the site.",
            ) from None
        hint = f"Write the secret into {place}."
    if not value:
        raise BadInputError(f"the secret '{name}' is empty: {reference}", hint=hint)
    if rule := _broken_rule(name, value):
        raise BadInputError(f"the secret '{name}' from {reference} is not usable", hint=f"It must be {rule}.")
    return SecretStr(value)


def _broken_rule(name: str, value: str) -> str:
    """The rule that a secret of this name breaks, or nothing."""
    if name in SECRET_NAMES and name.endswith("_key"):
        return "" if _KEY.fullmatch(value) else _KEY_RULE
    if name in TOKEN_NAMES:
        return "" if value.isascii() and value.isprintable() and " " not in value else _TOKEN_RULE
    if name.endswith("_password"):
        return "" if value.isprintable() and 8 <= len(value.encode()) <= 72 else _PASSWORD_RULE
    return ""


def _kept(path: Path, hosts: list[str], names: list[str]) -> dict[str, dict[str, SecretStr]]:
    if not names:
        return {host: {} for host in hosts}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        book = _decrypted(path)
        # An engine's key with a dash at its front was made once; it is made anew, as vLLM does not start with it.
        missing = [
            (host, name)
            for host in hosts
            for name in names
            if name not in book.get(host, {}) or (name == "engine_key" and book[host][name].startswith("-"))
        ]
        for host, name in missing:
            book.setdefault(host, {})[name] = _MAKERS[name]()
        if missing:
            _write(path, book)
    return {host: {name: SecretStr(book[host][name]) for name in names} for host in hosts}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _library() -> Any:
    from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: PLC0415  costs 0.3 s, needed by few verbs

    return VaultLib([("default", VaultSecret(_password()))])


def _decrypted(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    from ansible.errors import AnsibleError  # noqa: PLC0415

    try:
        book: dict[str, dict[str, str]] = json.loads(_library().decrypt(path.read_bytes()))
    except (AnsibleError, ValueError):
        raise BadInputError(
            "the vault does not open with this password",
            where=str(path),
            hint=f"Its password is read from {password_file()}. If that is lost, move the vault away.",
        ) from None
    return book


def _write(path: Path, book: dict[str, dict[str, str]]) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_library().encrypt(json.dumps(book, sort_keys=True)))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def password_file() -> Path:
    """The file that holds the vault's password."""
    chosen = os.environ.get("BOXWRIGHT_VAULT_PASSWORD_FILE")
    return Path(chosen) if chosen else places.configuration() / "vault-password"


def _password() -> bytes:
    path = password_file()
    if not path.exists():
        if "BOXWRIGHT_VAULT_PASSWORD_FILE" in os.environ:
            raise BadInputError(f"the vault's password file {path} is not there")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise BadInputError(
            f"others may read the vault's password file (mode {mode:04o})",
            where=str(path),
            hint=f"chmod 600 {path}",
        )
    password = path.read_bytes().strip()
    if not password:
        raise BadInputError("the vault's password file is empty", where=str(path))
    return password
