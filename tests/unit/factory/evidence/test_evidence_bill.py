"""The bill of materials: what a customer's tools read of a box, the same bytes for the same box."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from datetime import datetime
from typing import Any

import pytest
from made_inventories import DIGESTS, RECEIPT, inventory, told
from pydantic import ValidationError

from boxwright.errors import BoxwrightError
from boxwright.factory.evidence.bill_of_materials import bill_of_materials, counts, require_valid
from boxwright.factory.evidence.inventory import Inventory
from boxwright.model.catalogues import load_models
from boxwright.places import ROOT
from boxwright.reports.certificate import Receipt


def bill(found: Inventory | None = None) -> bytes:
    receipt = Receipt.model_validate(RECEIPT)
    return bill_of_materials(found or inventory(), receipt, "box-1", load_models())


def components(data: bytes) -> dict[str, dict[str, Any]]:
    """Every component by its purl, or its name where it has none."""

    def walk(some: list[dict[str, Any]]) -> Any:
        for one in some:
            yield one.get("purl", one["name"]), one
            yield from walk(one.get("components", []))

    return dict(walk(json.loads(data)["components"]))


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in component.get("properties", ())}


def test_it_keeps_to_the_schema_of_its_own_library() -> None:
    data = bill()
    require_valid(data.decode())  # was asked while it was made, too
    assert (json.loads(data)["bomFormat"], json.loads(data)["specVersion"]) == ("CycloneDX", "1.6")


def test_what_does_not_keep_to_the_schema_is_refused() -> None:
    wrong = json.loads(bill())
    wrong["components"][0]["type"] = "gadget"
    with pytest.raises(BoxwrightError, match=r"schema of CycloneDX 1\.6.*gadget"):
        require_valid(json.dumps(wrong))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("packages", "name"), ("models", "name"), ("images", "repository"), ("modules", "name"), ("programs", "name")],
)
@pytest.mark.parametrize("value", ["", " ", "/"])
def test_what_has_no_name_is_refused_before_a_bill_is_made(kind: str, name: str, value: str) -> None:
    first, *others = told()[kind]
    with pytest.raises(ValidationError, match=f"{kind}.0.{name}"):
        inventory(**{kind: [{**first, name: value}, *others]})


def test_each_thing_has_the_name_by_which_others_know_it() -> None:
    found = components(bill())
    assert set(found) >= {
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12",
        "pkg:deb/debian/nvidia-open@575.57-1?arch=all&distro=debian-12",
        "pkg:deb/debian/python3.11@3.11.2-6",
        "pkg:pypi/typing-extensions@4.15.0",
        "pkg:huggingface/Qwen/Qwen3-30B-A3B",
        "pkg:generic/mine@q4",
        "pkg:generic/nvidia@575.57",
        "pkg:generic/llama-cpp@b11312-0123",
    }
    (image,) = (name for name in found if "vllm-openai" in name)
    assert image.startswith(f"pkg:oci/vllm-openai@sha256:{DIGESTS['image']}?")
    assert "repository_url=images.example/vllm/vllm-openai" in image
    assert "tag=v1" in image


def test_digests_are_those_that_are_known_and_no_others() -> None:
    found = components(bill())
    known = {name: one["hashes"][0]["content"] for name, one in found.items() if "hashes" in one}
    local = "2" * 64  # an image that was never in a registry is known by its id
    expected = {DIGESTS[name] for name in ("deb", "unpacked", "weights", "image", "ko")} | {local}
    assert set(known.values()) == expected
    assert "hashes" not in found["pkg:deb/debian/nvidia-open@575.57-1?arch=all&distro=debian-12"]
    assert "hashes" not in found["a.gguf"]
    wheel = found["pkg:pypi/typing-extensions@4.15.0"]  # its archive is gone: a digest of RECORD is not one of it
    assert "hashes" not in wheel
    assert properties(wheel)["boxwright:record-sha256"] == DIGESTS["record"]


def test_licences_are_told_as_they_were_declared() -> None:
    found = components(bill())
    package = found["pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"]
    assert sorted(one["license"].get("id", one["license"].get("name")) for one in package["licenses"]) == [
        "GPL-2+",
        "MIT",
    ]
    assert found["pkg:pypi/typing-extensions@4.15.0"]["licenses"][0]["license"]["id"] == "PSF-2.0"
    assert found["pkg:pypi/two@1"]["licenses"][0]["expression"] == "MIT OR Apache-2.0"
    assert found["pkg:pypi/a-text@1"]["licenses"][0]["license"]["name"] == "MIT License"  # and not the whole text
    assert found["pkg:huggingface/Qwen/Qwen3-30B-A3B"]["licenses"][0]["license"]["id"] == "Apache-2.0"


def test_what_was_built_from_source_names_its_commit() -> None:
    engine = components(bill())["pkg:generic/llama-cpp@b11312-0123"]
    assert engine["pedigree"]["commits"] == [{"uid": "bc1ab17"}]
    assert properties(engine)["boxwright:build:source_sha256"] == "ab" * 32
    assert "-DGGML_CUDA=ON" in properties(engine)["boxwright:build:cmake"]


def test_what_is_simulated_says_so() -> None:
    data = bill(inventory(twin=True))
    shell = components(data)["pkg:deb/debian/nvidia-open@575.57-1?arch=all&distro=debian-12"]
    assert properties(shell)["boxwright:simulated"].startswith("SIMULATED")
    root = json.loads(data)["metadata"]["component"]
    assert properties(root)["boxwright:twin"].startswith("SIMULATED")
    assert "controller" in properties(components(data)["debian"])["boxwright:kernel"]  # whose kernel a twin has
    assert properties(components(bill())["debian"])["boxwright:kernel"] == "6.1.0-1"


def test_the_same_box_gives_the_same_bytes_in_whatever_order_it_tells() -> None:
    mixed = told()
    for part in ("packages", "programs", "models", "images", "modules"):
        random.Random(7).shuffle(mixed[part])  # noqa: S311 - no secret
    assert bill() == bill() == bill(Inventory.model_validate_json(json.dumps(mixed)))


def test_its_time_is_the_provisioning_and_its_number_follows_from_the_content() -> None:
    first, other = json.loads(bill()), json.loads(bill(inventory(modules=[])))
    assert datetime.fromisoformat(first["metadata"]["timestamp"]) == datetime.fromisoformat(RECEIPT["provisioned_at"])
    assert uuid.UUID(first["serialNumber"]).version == 5
    assert first["serialNumber"] != other["serialNumber"]


def test_it_is_counted_for_people() -> None:
    assert counts(bill()) == {
        "Debian package": 3, "container image": 2, "kernel module": 1, "model": 2, "model file": 2,
        "operating system": 1, "program": 3, "wheel": 3,
    }  # fmt: skip


def test_the_library_of_bills_is_loaded_where_one_is_made_and_nowhere_else() -> None:
    """It takes half a second, for which neither `--list` nor `plan` nor a check of evidence should wait."""
    names = "tasks, boxwright.provisioning.verbs, boxwright.provisioning.certifying, boxwright.factory.evidence.verbs"
    script = f"import sys, {names}; print([name for name in sys.modules if name.startswith('cyclonedx')])"
    argv = [sys.executable, "-c", script]
    assert subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
