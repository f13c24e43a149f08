"""The bill of materials of a box as CycloneDX 1.6 in JSON. Pure: the same inventory gives the same bytes.

Packages are named by purls (`pkg:deb`, `pkg:pypi`, `pkg:huggingface`, `pkg:oci`, `pkg:generic`). What CycloneDX has no
place for stands in properties that begin with `boxwright:`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from boxwright.errors import BoxwrightError
from boxwright.factory.evidence.components import components_of, properties
from boxwright.factory.evidence.inventory import Inventory
from boxwright.model.catalogue import ModelCatalogue
from boxwright.reports.certificate import Receipt


def bill_of_materials(inventory: Inventory, receipt: Receipt, host: str, catalogue: ModelCatalogue) -> bytes:
    """Everything on a box, as the file that is signed for.

    Its time is that of the receipt, and its serial number follows from all the rest.

    Args:
        inventory: What was found.
        receipt: What the box says of its provisioning.
        host: What the box is called.
        catalogue: Where the models come from.

    Raises:
        BoxwrightError: It does not keep to CycloneDX's schema, so it must not be signed.
    """
    parts = list(components_of(inventory, catalogue))
    root = _root(inventory, receipt, host)
    bom = Bom(
        serial_number=uuid.UUID(int=0),
        components=parts,
        metadata=BomMetaData(
            component=root,
            timestamp=datetime.fromisoformat(receipt.provisioned_at),
            tools=ToolRepository(components=[_tool(receipt.boxwright_version)]),
        ),
    )
    bom.register_dependency(root, parts)
    for part in parts:
        bom.register_dependency(part, part.components)
    digest = hashlib.sha256(JsonV1Dot6(bom).output_as_string().encode()).digest()
    bom.serial_number = uuid.UUID(bytes=digest[:16], version=5)
    text = JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
    require_valid(text)
    return text.encode()


def require_valid(text: str) -> None:
    """Hold a bill of materials against CycloneDX's own schema.

    Raises:
        BoxwrightError: It does not keep to it.
    """
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise BoxwrightError(
            f"the bill of materials does not keep to the schema of CycloneDX 1.6: {str(problem).splitlines()[0]}",
            hint="This is a mistake of Boxwright's: please report it, with what stands on the box.",
        )


def counts(data: bytes) -> dict[str, int]:
    """How many components of each kind a bill of materials has, those within others too; kinds in the singular."""
    found = Counter(_kind(one) for one in _all(json.loads(data)["components"]))
    return dict(sorted(found.items()))


def _root(inventory: Inventory, receipt: Receipt, host: str) -> Component:
    twin = "SIMULATED hardware: a throw-away container" if inventory.twin else ""
    return Component(
        type=ComponentType.DEVICE,
        bom_ref=f"box:{host}",
        name=host,
        description=f"a box that was provisioned as {receipt.profile}",
        properties=properties({"profile": receipt.profile, "twin": twin}),
    )


def _tool(version: str) -> Component:
    return Component(
        type=ComponentType.APPLICATION, bom_ref=f"tool:boxwright-{version}", name="boxwright", version=version
    )


def _all(components: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    for one in components:
        yield one
        within = one.get("components")
        if isinstance(within, list):
            yield from _all(within)


def _kind(component: dict[str, object]) -> str:
    """A word for people: the type of its purl where it is a package."""
    purl, type_ = str(component.get("purl", "")), str(component["type"])
    if type_ == "library":
        return {"pkg:deb": "Debian package", "pkg:pypi": "wheel"}.get(purl.partition("/")[0], "library")
    return _WORDS.get(type_, type_)


_WORDS = {
    "application": "program",
    "container": "container image",
    "device-driver": "kernel module",
    "file": "model file",
    "machine-learning-model": "model",
    "operating-system": "operating system",
}
