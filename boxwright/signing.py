"""Signs files by ed25519, in the form of OpenSSH's own signatures, and verifies such signatures.

The form is that of `ssh-keygen -Y sign` (PROTOCOL.sshsig of OpenSSH): a signature holds the public key that it was made
by, and whoever has OpenSSH 8.1 or newer can check it without Boxwright. `docs/verbs/report.md` shows how.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
import struct
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from boxwright.errors import BadInputError

# What is signed for one purpose can be taken for no other.
NAMESPACE = "boxwright-certificate"
BUNDLE_NAMESPACE = "boxwright-bundle"
_MAGIC, _VERSION, _KIND, _HASH = b"SSHSIG", 1, b"ssh-ed25519", b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_COLUMNS = 70  # as ssh-keygen breaks its lines


class ForgedError(Exception):
    """A signature does not hold. Its text says why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who signed: 32 bytes of ed25519."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """The key as SSH writes it into messages."""
        return _string(_KIND) + _string(self.raw)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` writes it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    @property
    def line(self) -> str:
        """As it stands in a `.pub` file."""
        return f"{_KIND.decode()} {base64.b64encode(self.blob).decode()}"

    def hold_to(self, data: bytes, signature: bytes) -> None:
        """Whether a bare signature of ed25519 is this key's and of these bytes.

        Raises:
            ForgedError: It is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            raise ForgedError("the signature is not of this file: one of the two was changed") from None


class SigningKey:
    """The private key by which this controller signs what it issues."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def kept_in(cls, folder: Path) -> SigningKey:
        """The key of a folder, `ed25519`; made on first use, with its public half beside it.

        Raises:
            BadInputError: The file is no such key, or others may read it.
        """
        path = folder / "ed25519"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _place(path, Ed25519PrivateKey.generate())
        key = cls(_read(path))
        public = folder / "ed25519.pub"
        if not public.exists():
            public.write_text(f"{key.public.line} {NAMESPACE}\n", encoding="ascii")
        return key

    @classmethod
    def of_folder(cls, folder: Path) -> SigningKey | None:
        """The key of a folder that has one; none is made.

        Raises:
            BadInputError: As for `kept_in`.
        """
        return cls.kept_in(folder) if (folder / "ed25519").exists() else None

    def sign(self, data: bytes, namespace: str = NAMESPACE) -> str:
        """The signature of some bytes for one purpose, as the text of a `.sig` file."""
        signature = _string(_KIND) + _string(self._private.sign(_to_be_signed(data, namespace)))
        return _armoured(self.public, signature, namespace)

    def sign_bare(self, data: bytes) -> bytes:
        """A bare signature of ed25519, 64 bytes, for formats that say themselves what a signature is for."""
        return self._private.sign(data)


def verify(data: bytes, signature: str, namespace: str = NAMESPACE) -> PublicKey:
    """Whose signature this is, made for this purpose.

    Raises:
        ForgedError: It is none, or not of these bytes; a single byte of either that differs is enough.
    """
    public, blob = _parts(signature, namespace)
    kind, made = _strings(blob, 2)
    if kind != _KIND:
        raise ForgedError(f"the signature is of {kind.decode(errors='replace')} and not of ed25519")
    public.hold_to(_to_be_signed(data, namespace), made)
    return public


def read_public_key(text: str) -> PublicKey:
    """The key of a `.pub` file's text.

    Raises:
        ValueError: It holds no ed25519 key.
    """
    words = text.split()
    if len(words) < 2 or words[0] != _KIND.decode():
        raise ValueError("no public key of ed25519")
    try:
        return _public(base64.b64decode(words[1], validate=True))
    except (binascii.Error, ForgedError):
        raise ValueError("no public key of ed25519") from None


def wanted_fingerprint(signer: str) -> str:
    """The fingerprint of the one key that a person names; empty where none is.

    Args:
        signer: A fingerprint, `SHA256:…`, or the path of a `.pub` file.

    Raises:
        BadInputError: It is neither.
    """
    if not signer or signer.startswith("SHA256:"):
        return signer
    path = Path(signer).expanduser()
    try:
        return read_public_key(path.read_text(encoding="utf-8")).fingerprint
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"--signer: {error}", where=signer, hint="Give a fingerprint, SHA256:…, or the path of a .pub file."
        ) from None


def _place(path: Path, private: Ed25519PrivateKey) -> None:
    """Put a fresh key in its place, unless another process was faster: then that one's stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> Ed25519PrivateKey:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInputError(
            "others may read the key that signs what this controller issues",
            where=str(path),
            hint=f"If nobody could have: chmod 600 {path}. Else remove it, and tell your customers of the new one.",
        )
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: it has a passphrase
        raise _no_key(path, str(error)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "it is of another kind")
    return key


def _no_key(path: Path, reason: str) -> BadInputError:
    return BadInputError(
        f"no private key of ed25519 without a passphrase: {reason}",
        where=str(path),
        hint=f"Bring the right one back, or move it away: a new one is made. By hand: ssh-keygen -t ed25519 -f {path}",
    )


def _to_be_signed(data: bytes, namespace: str) -> bytes:
    digest = hashlib.sha512(data).digest()
    return _MAGIC + b"".join(map(_string, (namespace.encode(), b"", _HASH, digest)))


def _armoured(public: PublicKey, signature: bytes, namespace: str) -> str:
    parts = (public.blob, namespace.encode(), b"", _HASH, signature)
    blob = _MAGIC + struct.pack(">I", _VERSION) + b"".join(map(_string, parts))
    lines = textwrap.wrap(base64.b64encode(blob).decode(), _COLUMNS)
    return "\n".join((_BEGIN, *lines, _END, ""))


def _parts(text: str, wanted: str) -> tuple[PublicKey, bytes]:
    """The key and the signature proper of a `.sig` file."""
    lines = text.split("\n")
    if lines[0] != _BEGIN or lines[-2:] != [_END, ""]:
        raise ForgedError("this is no SSH signature")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except binascii.Error:
        raise ForgedError("the signature is not whole") from None
    head = _MAGIC + struct.pack(">I", _VERSION)
    if not blob.startswith(head):
        raise ForgedError("this is no SSH signature of version 1")
    key, namespace, reserved, hashed, signature = _strings(blob[len(head) :], 5)
    if (namespace, reserved, hashed) != (wanted.encode(), b"", _HASH):
        raise ForgedError(f"the signature is not one of a {wanted}")
    public = _public(key)
    if _armoured(public, signature, wanted) != text:  # base64 has spare bits, which would be free to change
        raise ForgedError("the signature is not written as it was made")
    return public, signature


def _public(blob: bytes) -> PublicKey:
    kind, raw = _strings(blob, 2)
    if kind != _KIND or len(raw) != 32:
        raise ForgedError("the key is none of ed25519")
    return PublicKey(raw)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _strings(blob: bytes, count: int) -> list[bytes]:
    """So many strings of SSH's, and nothing behind them."""
    found, place = [], 0
    for _ in range(count):
        if place + 4 > len(blob):
            raise ForgedError("the signature is not whole")
        (length,) = struct.unpack_from(">I", blob, place)
        place += 4
        found.append(blob[place : place + length])
        if len(found[-1]) != length:
            raise ForgedError("the signature is not whole")
        place += length
    if place != len(blob):
        raise ForgedError("there is something behind the signature")
    return found
