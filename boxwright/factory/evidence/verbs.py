"""What `evidence.check` does, told to a console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit
from boxwright.factory.evidence.examination import examine
from boxwright.signing import ForgedError, wanted_fingerprint


def check(console: Console, file: str, signer: str = "") -> Exit:
    """Say whether evidence is what was signed, and by which key.

    Raises:
        BadInputError: There is nothing to check.
        BoxwrightError: It is not what was signed, or by another key than `signer`.
    """
    path = Path(file).expanduser()
    try:
        examined = examine(path, wanted_fingerprint(signer))
    except ForgedError as error:
        raise BoxwrightError(
            f"INVALID: {error}", where=str(path), hint="Ask whoever issued it for the files as they were signed."
        ) from None
    rows = _told(examined.statement)
    files = {"held": list(examined.held), "absent": list(examined.absent)}
    key = examined.key.fingerprint
    console.data("evidence", {**rows, **files, "valid": True, "signing_key": key, "signer_known": bool(signer)})
    console.success(
        f"VALID: it is what was signed of {rows['host'] or 'a box'}, and {len(examined.held)} of its files match."
    )
    if not console.json:
        shown = {name.replace("_", " "): value or "unknown" for name, value in rows.items()}
        shown |= {"files that match": ", ".join(examined.held) or "none", "key": key}
        console.table("", ["What", "Signed"], list(shown.items()), kind="fact")
    if examined.absent:
        console.warning(f"not beside it, so not compared: {', '.join(examined.absent)}")
    if not signer:
        console.warning(
            "anybody can sign by a key of his own: compare the key's fingerprint with the issuer's, or give it "
            "as --signer"
        )
    return Exit.OK


def _told(statement: dict[str, Any]) -> dict[str, str]:
    """What a reader wants to know of a build; what another builder did not state, or in another form, is empty."""
    definition, details = (_part(statement, "predicate", name) for name in ("buildDefinition", "runDetails"))
    parameters, metadata = _part(definition, "externalParameters"), _part(details, "metadata")
    listed = definition.get("resolvedDependencies")
    materials = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    source: dict[str, Any] = next((one for one in materials if one.get("name") == "boxwright"), {})
    return {
        "host": str(parameters.get("host") or _image(parameters)),
        "profile": str(parameters.get("profile", "")),
        "twin": str(parameters.get("twin", "no")),
        "built_by": str(_part(details, "builder").get("id", "")),
        "built_at": str(metadata.get("finishedOn", "")),
        "boxwright": str(_part(source, "digest").get("gitCommit", "")),
        "made_of": str(len(materials)),
    }


def _part(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """An object within others; nothing where there is none, or something else."""
    for name in names:
        found = told.get(name)
        told = found if isinstance(found, dict) else {}
    return told


def _image(parameters: dict[str, Any]) -> str:
    """An image is of no host yet."""
    return f"the image {parameters['image']}" if "image" in parameters else ""
