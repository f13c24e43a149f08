"""Whether evidence is what was signed, and by whom. Needs the files alone: no box, no network, no settings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.errors import BadInputError
from boxwright.factory.evidence.envelope import open_envelope
from boxwright.factory.evidence.names import BILL, PROVENANCE, RECEIPT
from boxwright.factory.evidence.provenance import PREDICATE, STATEMENT
from boxwright.signing import ForgedError, PublicKey

_MAX_BYTES = 256 * 2**20  # of a statement; one of a big box is some hundred kilobytes


@dataclass(frozen=True, slots=True)
class Examined:
    """A statement that holds.

    Attributes:
        statement: What is stated.
        key: Who signed it.
        held: Names of the files beside it whose digests were compared.
        absent: Names of those that are not there.
    """

    statement: dict[str, Any]
    key: PublicKey
    held: tuple[str, ...]
    absent: tuple[str, ...]


def examine(path: Path, fingerprint: str = "") -> Examined:
    """Hold a statement against its signature, and the files that it is about against their digests.

    Args:
        path: The statement, or its folder, or a file that it is about: beside that it lies under its own name.
        fingerprint: Of the one key that may have signed it; empty: any.

    Raises:
        BadInputError: There is no such file.
        ForgedError: It, or a file that it is about, is not what was signed, or another key signed it.
    """
    if path.is_dir():
        path /= PROVENANCE
    elif path.name in (BILL, RECEIPT):
        path = path.with_name(PROVENANCE)
    opened = open_envelope(_read(path))
    if fingerprint:
        require_signer(opened.key, (fingerprint,))
    subjects = subjects_of(opened.statement)
    held = [name for name, digest in subjects.items() if _holds(path.with_name(name), digest)]
    return Examined(opened.statement, opened.key, tuple(held), tuple(name for name in subjects if name not in held))


def require_signer(key: PublicKey, signers: Collection[str]) -> None:
    """Refuse a signature that is whole, and somebody else's: whoever changes a file can sign it by a key of his own.

    Args:
        key: Who signed.
        signers: Fingerprints of those who may.

    Raises:
        ForgedError: It is none of them.
    """
    if key.fingerprint not in signers:
        raise ForgedError(f"it is signed by another key, {key.fingerprint}, and not by {' or '.join(signers)}")


def subjects_of(statement: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files that a statement is about, by name.

    Raises:
        ForgedError: It is no provenance by SLSA, or is about nothing that can be compared.
    """
    try:
        if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
            raise ForgedError("what is signed is no provenance by SLSA, version 1")
        found = {str(one["name"]): str(one["digest"]["sha256"]) for one in statement["subject"]}
    except (KeyError, TypeError):
        raise ForgedError("what is signed names no files with their digests") from None
    strange = [name for name in found if name in ("", "..") or Path(name).name != name or "\0" in name]
    if strange or not found:
        raise ForgedError(f"what is signed is about no file beside it: {strange}")
    return found


def _holds(path: Path, digest: str) -> bool:
    """Whether a file is there.

    Raises:
        ForgedError: It is, and is another one.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BadInputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    if found != digest:
        raise ForgedError(f"{path.name} is not the one that was signed for: it has sha256 {found}, and not {digest}")
    return True


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInputError("too large for a statement", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"cannot read it: {error.strerror}",
            where=str(path),
            hint=f"Evidence is {PROVENANCE}, with the files that it is about beside it.",
        ) from None
