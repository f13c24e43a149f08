"""A container that stands on the root of a golden image becomes a box out of its bundle: a boot without emulation."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from as_machines import site_of_machines
from fresh_lab import fresh_lab
from image_build import built_image, bundle_of_an_image, key_of_a_person
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.factory.image import disk
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3600)]


@pytest.fixture
def patient(boxwright: Boxwright) -> Boxwright:
    return Boxwright(boxwright.environment, patience_s=2400)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Where the root of an image is to be mounted."""
    place = tmp_path / "root"
    place.mkdir()
    yield place
    subprocess.run(["umount", str(place)], check=False)


@pytest.mark.parametrize("distribution", ["debian-12", "debian-13"])
def test_what_was_sealed_lacks_nothing_that_a_box_needs(
    distribution: str, mounted: Path, patient: Boxwright, tmp_path: Path
) -> None:
    bundle = bundle_of_an_image(patient, "lab", distribution, tmp_path)
    image = built_image(patient, bundle, key_of_a_person(tmp_path), tmp_path / "image")
    at = disk.Layout(root_mib=1).root_at << 20
    subprocess.run(["mount", "-o", f"ro,loop,offset={at}", str(image), str(mounted)], check=True)

    with fresh_lab(f"test-image-root-{distribution[-2:]}") as lab:
        (twin,) = lab.up([TwinSpec("box-1", distribution, load_profile("lab").hardware, root=mounted)])
        site = tmp_path / "site.yml"
        # A container cannot mount its root anew, as the image's fstab says.
        site.write_text(site_of_machines("image-root", lab, [twin], waived=("services.failed", "logs.errors")))
        words = ("--profile", "lab", "--site", str(site), "--bundle", str(bundle), "--yes")
        first = patient("provision", *words)
        assert first.failed_checks == {}
        assert first.code == Exit.OK, first.text[-4000:]
        second = patient("provision", *words)
        assert second.code == Exit.OK, second.text[-4000:]
        assert [one["resource"] for one in second.kind("event") if one["outcome"] == "changed"] == []
