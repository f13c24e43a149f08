"""What goes beside an image: the bill of what is on it, and the signed statement of how it was built. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from packageurl import PackageURL

from boxwright import __version__
from boxwright.factory.evidence.bill_of_materials import bill_of_materials
from boxwright.factory.evidence.inventory import Inventory
from boxwright.factory.evidence.provenance import PREDICATE, STATEMENT, source
from boxwright.factory.lock import Artefact, Lock
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.debian_packages import SYSTEM
from boxwright.reports.certificate import Receipt

BUILD_TYPE = "urn:boxwright:image:v1"  # what `externalParameters` mean: docs/verbs/image.md


def bill(inventory: Inventory, lock: Lock, epoch: int, catalogue: ModelCatalogue) -> bytes:
    """Everything on an image as CycloneDX. The same lock gives the same bytes.

    Args:
        inventory: What was found on the container that was provisioned.
        lock: What it was made of.
        epoch: The image's date, Unix time.
        catalogue: Where its models come from.

    Raises:
        BoxwrightError: It does not keep to CycloneDX's schema.
    """
    system = inventory.system.model_copy(update={"kernel": _kernel(lock)})
    found = inventory.model_copy(update={"system": system, "twin": False})
    return bill_of_materials(found, _made(lock, epoch), lock.name, catalogue)


def _kernel(lock: Lock) -> str:
    """The release of the kernel that boots the image: the container ran the controller's."""
    names = (one.name for one in lock.of("debian") if SYSTEM in one.used_by)
    return next((found[1] for name in names if (found := re.fullmatch(r"linux-image-([0-9].*)", name))), "")


def _made(lock: Lock, epoch: int) -> Receipt:
    """The receipt that an image has none of: who builds it, and when, is in the statement alone."""
    return Receipt(profile=lock.profile, provisioned_at=_time(epoch), by="", boxwright_version=__version__)


def statement(
    digests: Mapping[str, str],
    lock: Lock,
    run: Receipt,
    *,
    epoch: int,
    authorized_key: str,
    stack: bool,
    tools: Mapping[str, str],
) -> dict[str, Any]:
    """What is stated of the build of an image, as an in-toto statement with SLSA's predicate.

    Args:
        digests: sha256 of the image and of what lies beside it, by file name.
        lock: What it was made of: each artefact is a material.
        run: Who built it, when, and by which Boxwright.
        epoch: The image's own date.
        authorized_key: Whose owner may enter it.
        stack: Whether it has what serves models; without, it is the machine alone.
        tools: Versions of the controller's programs that decide on its bits.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(digests.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "authorizedKey": authorized_key,
                    "distribution": lock.distribution,
                    "image": lock.name,
                    "lock": {"sha256": hashlib.sha256(lock.text.encode()).hexdigest()},
                    "profile": lock.profile,
                    "stack": stack,
                },
                "internalParameters": {"sourceDateEpoch": epoch, "tools": dict(tools)},
                "resolvedDependencies": [*source(run), *_materials(lock.artefacts)],
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:boxwright:controller:{run.by}",
                    "version": {"boxwright": run.boxwright_version},
                },
                "metadata": {"startedOn": run.started_at, "finishedOn": run.provisioned_at},
            },
        },
    }


def _materials(artefacts: Iterable[Artefact]) -> Iterable[dict[str, Any]]:
    for one in artefacts:
        if one.kind == "firmware":  # lies beside the boxes, and on no disk
            continue
        yield {"uri": _purl(one).to_string(), "digest": {"sha256": one.sha256}}


def _purl(one: Artefact) -> PackageURL:
    if one.kind == "debian":
        architecture = one.file.removesuffix(".deb").rpartition("_")[2]
        return PackageURL("deb", "debian", one.name, one.version, {"arch": architecture})
    if one.kind == "wheel":
        return PackageURL("pypi", None, one.name, one.version)
    owner, _, rest = one.name.partition("/")
    return PackageURL("generic", None, owner, one.version, None, rest)


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
