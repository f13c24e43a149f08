"""Whether a certificate is what was signed, and by whom. Needs the file alone: no box, no network, no settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from boxwright.errors import BadInputError
from boxwright.reports.certificate import Certificate, from_json
from boxwright.reports.page import carried, page
from boxwright.signing import ForgedError, PublicKey, verify, wanted_fingerprint

_MAX_BYTES = 64 * 2**20  # a certificate is some hundred kilobytes


@dataclass(frozen=True, slots=True)
class Examined:
    """A certificate that holds, and the key that it was signed by.

    Attributes:
        held: Names of the files of evidence beside it that are what the certificate says.
        absent: Names of those that do not lie beside it.
    """

    certificate: Certificate
    key: PublicKey
    held: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def examine(path: Path, signer: str = "") -> Examined:
    """Hold a certificate against its signature.

    Args:
        path: `certificate.json` with its `.sig` beside it, or a page, which carries both and must be drawn from them.
        signer: The one key that may have signed it: its fingerprint, or the path of its `.pub` file. Empty: any.

    Raises:
        BadInputError: There is no such file, it is of another kind, or `signer` is no key.
        ForgedError: It is not what was signed, or another key signed it.
    """
    wanted = wanted_fingerprint(signer)
    data = _read(path)
    if data.startswith(b"%PDF"):
        raise BadInputError(
            "a PDF is for reading: what is signed is certificate.json, which the .html pages carry, too",
            where=str(path),
            hint=f"./invoke report.check {path.with_name('certificate.json')}",
        )
    examined = _page(data) if data.lstrip()[:9].lower() == b"<!doctype" else _file(data, _signature_of(path))
    if wanted and examined.key.fingerprint != wanted:
        raise ForgedError(f"it is signed by another key, {examined.key.fingerprint}")
    return _with_evidence(examined, path)


def _with_evidence(examined: Examined, path: Path) -> Examined:
    """Hold the files of evidence that lie beside a certificate against their digests."""
    held, absent = [], []
    for one in examined.certificate.evidence:
        beside = path.with_name(one.name)
        if not beside.exists():
            absent.append(one.name)
        elif hashlib.sha256(_read(beside)).hexdigest() == one.sha256:
            held.append(one.name)
        else:
            raise ForgedError(f"{one.name}, beside it, is not the file that the certificate names")
    return replace(examined, held=tuple(held), absent=tuple(absent))


def _file(signed: bytes, signature: str) -> Examined:
    key = verify(signed, signature)
    try:
        certificate = from_json(signed)
    except ValueError as error:
        raise ForgedError(f"what is signed is no certificate: {str(error).splitlines()[0]}") from None
    if certificate.signing_key != key.fingerprint:
        raise ForgedError(f"it names the key {certificate.signing_key}, and {key.fingerprint} signed it")
    return Examined(certificate, key)


def _page(data: bytes) -> Examined:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ForgedError("the page is not text as it was written") from None
    inside = carried(text)
    if inside is None:
        raise ForgedError("the page carries no certificate that can be read")
    signed, signature, language = inside
    examined = _file(signed, signature)
    if page(signed, signature, language) != text:
        made = examined.certificate.boxwright_version
        raise ForgedError(
            "what the page shows is not what it carries, which is signed: it was changed, or another release than "
            f"Boxwright {made} drew it. Check certificate.json"
        )
    return examined


def _signature_of(path: Path) -> str:
    beside = path.with_name(f"{path.name}.sig")
    try:
        return _read(beside).decode("ascii")
    except UnicodeDecodeError:
        raise ForgedError(f"{beside.name} is no SSH signature") from None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInputError("too large for a certificate", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"cannot read it: {error.strerror}",
            where=str(path),
            hint="A certificate is certificate.json with certificate.json.sig beside it, or one of its .html pages.",
        ) from None
