"""A golden image of profile `lab`, as its tests make one: locked, fetched, built."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab_command import Boxwright

from boxwright.errors import Exit


def bundle_of_an_image(boxwright: Boxwright, profile: str, distribution: str, place: Path) -> Path:
    """Lock a profile with what an image is made of, and fetch it; the lock lies beside the bundle as `lock.json`."""
    lock, bundle = place / "lock.json", place / "bundle"
    words = ("--profile", profile, "--distribution", distribution, "--to", str(lock))
    locked = boxwright("bundle.lock", *words, "--image")
    assert locked.code == Exit.OK, locked.text[-2000:]
    near = os.environ.get("BOXWRIGHT_TEST_NEAR", "")
    fetched = boxwright("bundle.fetch", "--lock", str(lock), "--bundle", str(bundle), *(["--near", near] * bool(near)))
    assert fetched.code == Exit.OK, fetched.text[-2000:]
    return bundle


def key_of_a_person(place: Path) -> Path:
    """A private key, whose public half a person gives to an image."""
    key = place / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f", str(key)], check=True)
    return key


def built_image(boxwright: Boxwright, bundle: Path, key: Path, folder: Path) -> Path:
    """Build an image of profile `lab` into a folder; says where the disk lies."""
    words = ("--profile", "lab", "--bundle", str(bundle), "--key", f"{key}.pub", "--to", str(folder))
    ran = boxwright("image.build", *words)
    assert ran.code == Exit.OK, ran.text[-3000:]
    (disk,) = folder.glob("*.raw")
    return disk
