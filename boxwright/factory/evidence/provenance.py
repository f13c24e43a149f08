"""How a box was built, as an in-toto statement with the predicate of SLSA's provenance, both of version 1. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from boxwright.reports.certificate import Receipt

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:boxwright:provision:v1"  # what `externalParameters` mean: docs/verbs/evidence.md


def statement(subjects: Mapping[str, bytes], receipt: Receipt, bill: bytes, *, twin: bool) -> dict[str, Any]:
    """What is stated of a build.

    Args:
        subjects: What came of it, by the names of the files.
        receipt: What the box says of its provisioning.
        bill: The bill of materials, for what went into it.
        twin: The box is a throw-away twin, whose hardware is SIMULATED.
    """
    metadata = {"invocationId": receipt.run, "startedOn": receipt.started_at, "finishedOn": receipt.provisioned_at}
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
            for name, data in sorted(subjects.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "host": receipt.host,
                    "profile": receipt.profile,
                    "site": receipt.site,
                    "stages": list(receipt.stages),
                    **({"twin": "SIMULATED hardware"} if twin else {}),
                },
                "resolvedDependencies": [
                    *_source(receipt),
                    *_lock(receipt),
                    *_materials(json.loads(bill)["components"]),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:boxwright:controller:{receipt.by}",
                    "version": {"boxwright": receipt.boxwright_version},
                },
                "metadata": {name: value for name, value in metadata.items() if value},
            },
        },
    }


def _source(receipt: Receipt) -> Iterator[dict[str, Any]]:
    """Boxwright itself, by the commit that provisioned the box."""
    commit, _, modified = receipt.source_revision.partition(" ")
    told: dict[str, Any] = {"name": "boxwright", "uri": f"pkg:generic/boxwright@{receipt.boxwright_version}"}
    if commit:
        told["digest"] = {"gitCommit": commit}
    if modified:
        told["annotations"] = {"workingTree": modified}
    yield told


def _lock(receipt: Receipt) -> Iterator[dict[str, Any]]:
    """The lock of the bundle that the box was made from: it names every archive."""
    if used := receipt.bundle:
        notes = {"signedOn": used.signed_at, "signedBy": used.signing_key}
        yield {
            "name": f"{used.name}.lock.json",
            "digest": {"sha256": used.lock},
            "annotations": {name: value for name, value in notes.items() if value},
        }


def _materials(components: Iterable[dict[str, Any]], within: str = "") -> Iterator[dict[str, Any]]:
    """Everything of the bill that has a name elsewhere, with its digest where that is known.

    A file of a model is named by the model, with the file as the purl's subpath.
    """
    for one in components:
        own = str(one.get("purl", ""))
        uri = own or (f"{within}#{one['name']}" if within else "")
        digests = {entry["alg"]: entry["content"] for entry in one.get("hashes", ())}
        if uri:
            yield {"uri": uri} | ({"digest": {"sha256": digests["SHA-256"]}} if "SHA-256" in digests else {})
        yield from _materials(one.get("components", ()), own)
