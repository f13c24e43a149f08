"""What `report.check` does, told to a console."""

from __future__ import annotations

from pathlib import Path

from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.reports.examination import examine
from boxwright.signing import ForgedError

_LABELS = {"stated_serial": "serial by the site", "firmware_serial": "serial by the firmware"}


def check(console: Console, file: str, signer: str = "") -> Exit:
    """Say whether a certificate is what was signed, and by which key.

    Raises:
        BadInputError: There is nothing to check.
        BoxwrightError: It is not what was signed, or by another key than `signer`.
    """
    path = Path(file).expanduser()
    try:
        examined = examine(path, signer)
    except ForgedError as error:
        raise BoxwrightError(
            f"INVALID: {error}", where=str(path), hint="Ask whoever issued it for the files as they were signed."
        ) from None
    certificate, key = examined.certificate, examined.key
    told = {
        "host": certificate.host,
        "serial": certificate.serial,
        "stated_serial": certificate.stated_serial,
        "firmware_serial": certificate.firmware_serial,
        "profile": certificate.profile,
        "verdict": certificate.verdict,
        "twin": certificate.twin,
        "issued_at": certificate.issued_at,
        "issued_by": certificate.issued_by,
    }
    console.data(
        "certificate",
        {
            **told,
            "valid": True,
            "signing_key": key.fingerprint,
            "signer_known": bool(signer),
            "evidence": list(examined.held),
            "absent": list(examined.absent),
        },
    )
    console.success(f"VALID: {path.name} is what {certificate.issued_by} signed at {certificate.issued_at}.")
    told |= {"evidence": ", ".join(examined.held)} if examined.held else {}
    rows = [(_LABELS.get(name, name.replace("_", " ")), str(value) or "none") for name, value in told.items()]
    if not console.json:
        console.table("", ["What", "Signed"], [*rows, ("key", key.fingerprint)], kind="fact")
    if certificate.serials_differ:
        console.warning(
            f"its site says serial {certificate.stated_serial}, and its firmware {certificate.firmware_serial}: "
            "two machines may have changed places, or a board was exchanged"
        )
    if examined.absent:
        console.warning(f"not beside it, so not compared: {', '.join(examined.absent)}")
    if not signer:
        console.warning(
            "anybody can sign by a key of his own: compare the key's fingerprint with the issuer's, or give it "
            "as --signer"
        )
    return Exit.OK
