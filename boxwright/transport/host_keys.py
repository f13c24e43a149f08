"""Host keys: what a host offers, what is pinned of it, and what ssh says when the two differ."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import ChangedKeyError, UnreachableError
from boxwright.transport.pins import Pins

FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
# What a person is asked about, the first that a host has. Only what was confirmed is pinned.
_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_OFFENDING = re.compile(r"Offending \S+ key in (.+):(\d+)")
_WORDS = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA"}


@dataclass(frozen=True, order=True)
class HostKey:
    """A public host key, by its kind and its bytes in base64, as `known_hosts` has them."""

    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key, as `ssh-keygen -l` writes it."""
        return fingerprint(base64.b64decode(self.blob))

    @property
    def words(self) -> str:
        """The kind as ssh names it to people."""
        return _WORDS.get(self.kind, "ECDSA" if self.kind.startswith("ecdsa") else self.kind)


def fingerprint(blob: bytes) -> str:
    """SHA-256 of a public key's bytes, as `ssh-keygen -l` writes it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def key_of(kind: str, blob: str) -> HostKey | None:
    """A key from two words of a line; None where they are none."""
    try:
        known = kind in _PREFERRED and base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return None
    return HostKey(kind, blob) if known else None


def scan(name: str, address: str, port: int, timeout_s: int) -> tuple[HostKey, ...]:
    """What a host offers to anybody who asks, the preferred kind first. Nothing proves yet whose keys they are.

    Raises:
        UnreachableError: No ssh server answered.
    """
    kinds = "ed25519,ecdsa,rsa"
    argv = ["ssh-keyscan", "-T", str(timeout_s), "-p", str(port), "-t", kinds, "--", address]
    try:
        # Each kind of key is asked for by a connection of its own.
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=timeout_s * 4 + 5, check=False
        )
    except subprocess.TimeoutExpired:
        said, trouble = "", f"no answer within {timeout_s * 4 + 5} s"
    else:
        said, trouble = done.stdout, done.stderr
    words = [line.split() for line in said.splitlines() if not line.startswith("#")]
    keys = {key for word in words if len(word) == 3 and (key := key_of(word[1], word[2]))}
    if not keys:
        raise UnreachableError(
            f"no ssh server showed a host key at {address} port {port}",
            where=name,
            hint=f"Is it on, and sshd up? Try by hand: ssh-keyscan -p {port} {address}",
            output=trouble,
        )
    return tuple(sorted(keys, key=lambda key: _PREFERRED.index(key.kind)))


def pinned(pins: Pins, address: str, port: int) -> tuple[HostKey, ...]:
    """The keys that are pinned for a place."""
    found = (key_of(kind, blob) for kind, blob in pins.of(address, port))
    return tuple(key for key in found if key)


def trouble(stderr: str, known_hosts: Path | None, name: str, address: str, port: int) -> UnreachableError | None:
    """What is wrong with a host's key, by what ssh said; None where ssh complained of something else."""
    changed = "IDENTIFICATION HAS CHANGED" in stderr
    if not changed and "Host key verification failed" not in stderr:
        return None
    known = pinned(Pins(known_hosts or Path("~/.ssh/known_hosts").expanduser()), address, port)
    known = known or _offended(stderr)
    if not changed and not known:
        return UnreachableError(
            f"its host key is not known yet ({address} port {port})",
            where=name,
            hint="Pin it, with this command's --site or --host: ./invoke enroll",
            output=stderr,
        )
    offered = [match[0] for match in FINGERPRINT.finditer(stderr)] or _asked(name, address, port)
    # ssh's own words come with advice to remove the pin, and are left out where both fingerprints can be told.
    output = "" if known and offered else stderr
    return changed_key(name, address, port, [key.fingerprint for key in known], offered, output=output)


def changed_key(
    name: str, address: str, port: int, known: list[str], offered: list[str], *, output: str = ""
) -> ChangedKeyError:
    """The error for a host that shows another key than the pinned one, with both fingerprints."""
    told = f"pinned {' or '.join(known) or '?'}, offered {' and '.join(offered) or '?'}"
    return ChangedKeyError(
        f"the host shows another key than the pinned one ({address} port {port}): {told}",
        where=name,
        hint=(
            "Did nobody reinstall it? Then another machine answers at this address: find out which, first of all.\n"
            "Did somebody? Compare the offered fingerprint with the one on its console, then, with the same "
            f"--site or --host: ./invoke enroll --replace {name}"
        ),
        output=output,
    )


def _offended(stderr: str) -> tuple[HostKey, ...]:
    """The pinned key in the line that ssh names, which may be one by a pattern."""
    for match in _OFFENDING.finditer(stderr):
        try:
            words = Path(match[1]).read_text(encoding="utf-8").splitlines()[int(match[2]) - 1].split()
        except (OSError, UnicodeDecodeError, IndexError):
            continue
        if len(words) >= 3 and (key := key_of(words[-2], words[-1]) or key_of(words[1], words[2])):
            return (key,)
    return ()


def _asked(name: str, address: str, port: int) -> list[str]:
    """Fingerprints of what the host offers; ssh does not tell them where the pinned key is of another kind."""
    try:
        return [key.fingerprint for key in scan(name, address, port, 5)]
    except UnreachableError:
        return []
