"""What image.build refuses before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from factory.bundles import artefact, made_bundle

from boxwright.console import Console
from boxwright.errors import BadInputError
from boxwright.factory.bundle import Bundle
from boxwright.factory.image.verbs import (
    Asked,
    build,
    chosen_lock,
    fleet_of_image,
    public_key,
    refuse_missing_stack,
    refuse_without_system,
)
from boxwright.factory.lock import Artefact, Lock
from boxwright.model.debian_packages import SYSTEM, system_packages
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGZ4mbkTnD7cX9cVd8nQWbU0cZkqJbYcHPVq0rK0V2f"


def test_a_persons_name_is_no_business_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "id.pub"
    path.write_text(f"{LINE} anna@bench\n")
    assert public_key(path) == LINE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "private key"),
        (f"{LINE}\n{LINE}\n", "not one public key"),
        (f'command="/bin/sh" {LINE}\n', "not one public key"),
        ("", "not one public key"),
    ],
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "id.pub"
    path.write_text(text)
    with pytest.raises(BadInputError, match=said):
        public_key(path)


def test_a_key_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as raised:
        public_key(tmp_path / "none.pub")
    assert raised.value.where.endswith("none.pub")


def test_the_lock_is_that_of_the_profile_and_of_the_release(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "bundle", tmp_path / "key")
    assert chosen_lock(bundle, "lab", "").name == "lab-debian-12"
    with pytest.raises(BadInputError, match="no lock of lab-debian-13; it has lab-debian-12"):
        chosen_lock(bundle, "lab", "debian-13")
    with pytest.raises(BadInputError, match="Did you mean 'debian-12'"):
        chosen_lock(bundle, "lab", "debian12")
    other = bundle.locks["lab-debian-12"].model_copy(update={"distribution": "debian-13"})
    write_whole(bundle.lock_file(other.name), other.text.encode())
    with pytest.raises(BadInputError, match="several releases"):
        chosen_lock(Bundle(tmp_path / "bundle"), "lab", "")


def test_a_lock_without_an_operating_system_makes_boxes_and_no_image() -> None:
    names = [name for name in system_packages("debian-12") if not name.startswith("?")]
    fields = {"kind": "debian", "archive": "debian", "path": "pool/x.deb"}
    whole = tuple(artefact(name, name.encode(), used_by=(SYSTEM,), **fields) for name in names)
    refuse_without_system(Lock(profile="lab", distribution="debian-12", artefacts=whole), Path("b"))
    boxes = tuple(artefact(name, name.encode(), used_by=("platform",), **fields) for name in names)
    with pytest.raises(BadInputError, match="no operating system") as raised:
        refuse_without_system(Lock(profile="lab", distribution="debian-12", artefacts=boxes), Path("b"))
    assert "--image" in raised.value.hint


@pytest.mark.parametrize(("profile", "why"), [("8x4090", "cards of a twin are simulated"), ("lab", "")])
def test_an_image_is_without_its_stack_only_where_somebody_said_so(profile: str, why: str) -> None:
    fleet = fleet_of_image(profile, Lock(profile=profile, distribution="debian-12", artefacts=(artefact("a", b"a"),)))
    refuse_missing_stack(fleet, asked_without=bool(why))
    said = rf"no image of {profile} can have its stack.*{why}" if why else "the stack of lab can be put on its image"
    with pytest.raises(BadInputError, match=said):
        refuse_missing_stack(fleet, asked_without=not why)


def system_of(*more: Artefact) -> Lock:
    names = [name for name in system_packages("debian-12") if not name.startswith("?")]
    fields = {"kind": "debian", "archive": "debian", "used_by": (SYSTEM,)}
    system = tuple(artefact(name, name.encode(), path=f"pool/{name}.deb", **fields) for name in names)
    return Lock(profile="lab", distribution="debian-12", artefacts=(*system, *more))


def asked_for(folder: Path, lock: Lock) -> Asked:
    """A bundle that is signed, and has nothing but its lock and lists."""
    bundle = Bundle(folder / "bundle")
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    write_whole(bundle.lists(lock.name) / "dists/platform/InRelease", b"signed list\n")
    bundle.sign(SigningKey.kept_in(folder / "signing"), own=[lock.name])
    (folder / "id.pub").write_text(LINE)
    return Asked(lock.profile, str(bundle.folder), str(folder / "id.pub"), "", str(folder / "out"), "", False)


def test_no_disk_for_real_machines_is_made_of_what_the_lab_made_for_twins(tmp_path: Path) -> None:
    shell = artefact("nvidia-driver-cuda", b"empty", kind="debian", archive="nvidia", path="n.deb", simulated=True)
    asked = asked_for(tmp_path, system_of(shell))
    with pytest.raises(
        BadInputError, match=r"locked for twins, and an image is for real.*SIMULATED Debian package nvidia-driver-cuda"
    ) as raised:
        build(Console(), asked)
    assert "--site" in raised.value.hint
    assert not (tmp_path / "out").exists()
