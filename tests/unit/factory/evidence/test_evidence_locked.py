"""A lock knows the digests of archives that a box no longer has."""

from __future__ import annotations

from typing import Any

from made_inventories import DIGESTS, inventory

from boxwright.factory.evidence.locked import with_lock
from boxwright.factory.lock import Artefact, Lock


def artefact(kind: str, name: str, version: str, digit: str) -> Artefact:
    place: dict[str, Any] = {"archive": "debian", "path": f"pool/{name}.deb"} if kind == "debian" else {}
    return Artefact.model_validate(
        {"kind": kind, "name": name, "version": version, "sha256": digit * 64, "size": 1, "file": f"f{digit}",
         "used_by": ("platform",), **place}
    )  # fmt: skip


def test_it_fills_in_what_the_box_does_not_know_and_nothing_else() -> None:
    lock = Lock(
        profile="lab",
        distribution="debian-12",
        artefacts=(
            artefact("wheel", "typing-extensions", "4.15.0", "a"),  # the box writes it in another way
            artefact("wheel", "a-text", "2", "b"),  # of another version
            artefact("wheel", "two", "1", "c"),  # for one Python
            artefact("wheel", "two", "1", "d"),  # and for another
            artefact("debian", "nvidia-open", "575.57-1", "e"),
            artefact("debian", "libstdc++6", "12.2.0-14+deb12u1", "f"),
        ),
    )
    found = with_lock(inventory(), lock)
    wheels = {wheel.name: wheel.sha256 for program in found.programs for wheel in program.wheels}
    assert wheels == {"Typing_Extensions": "a" * 64, "a-text": "", "two": ""}
    packages = {package.name: package.sha256 for package in found.packages}
    assert packages == {"libstdc++6": DIGESTS["deb"], "nvidia-open": "e" * 64}
