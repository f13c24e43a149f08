"""The bill of an image is the same for the same lock; who built it, and when, is in the statement alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from factory.bundles import artefact
from factory.evidence.made_inventories import told

from boxwright.factory.evidence.examination import subjects_of
from boxwright.factory.evidence.inventory import Inventory
from boxwright.factory.image.evidence import bill, statement
from boxwright.factory.lock import Lock
from boxwright.model.catalogues import load_models
from boxwright.model.debian_packages import SYSTEM
from boxwright.reports.certificate import Receipt

EPOCH = 1_700_000_000
RUN = Receipt(
    profile="lab",
    provisioned_at="2026-11-29T10:00:00Z",
    started_at="2026-11-29T09:00:00Z",
    by="ada@bench",
    boxwright_version="0.1.0",
    source_revision="0123456789abcdef0123456789abcdef01234567",
)


def package(name: str, **changes: Any) -> Any:
    fields = {
        "kind": "debian",
        "archive": "debian",
        "path": f"pool/{name}_1.0_amd64.deb",
        "file": f"{name}_1.0_amd64.deb",
        "used_by": (SYSTEM,),
    }
    return artefact(name, name.encode(), **fields | changes)


LOCK = Lock(
    profile="lab",
    distribution="debian-12",
    artefacts=(
        package("linux-image-amd64"),
        package("linux-image-6.1.0-57-amd64"),
        artefact("fastapi", b"wheel"),
        artefact("smol/q4/model.gguf", b"weights", kind="model", version="Q4", file="model.gguf"),
    ),
)


def made_bill(**changes: Any) -> Any:
    return json.loads(bill(Inventory.model_validate(told(**changes)), LOCK, EPOCH, load_models()))


def test_the_bill_tells_neither_a_time_of_today_nor_the_kernel_of_the_controller() -> None:
    one, other = made_bill(), made_bill(receipt="", twin=True)
    assert one == other
    assert one["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    assert "6.1.0-57-amd64" in json.dumps(one)
    assert "SIMULATED hardware" not in json.dumps(other)


def test_the_statement_names_the_image_and_each_thing_that_it_is_made_of() -> None:
    digests = {"lab-debian-12.raw": "a" * 64, "tree.txt": "b" * 64}
    more = {"authorized_key": "ssh-ed25519 AAAA", "stack": False, "tools": {"e2fsprogs": "1.47"}}
    made = statement(digests, LOCK, RUN, epoch=EPOCH, **more)
    assert subjects_of(made) == digests
    definition = made["predicate"]["buildDefinition"]
    materials = {one["uri"]: one.get("digest") for one in definition["resolvedDependencies"]}
    for one in LOCK.artefacts:
        assert {"sha256": one.sha256} in materials.values()
    assert "pkg:deb/debian/linux-image-amd64@1.0?arch=amd64" in materials
    assert "pkg:pypi/fastapi@1.0" in materials
    assert "pkg:generic/smol@Q4#q4/model.gguf" in materials
    assert definition["externalParameters"]["lock"]["sha256"] == hashlib.sha256(LOCK.text.encode()).hexdigest()
    assert definition["externalParameters"]["stack"] is False
    assert definition["internalParameters"]["tools"] == {"e2fsprogs": "1.47"}
