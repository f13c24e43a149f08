"""Files that a site has at hand, or that have a digest beforehand."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from factory.bundles import artefact

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.fetching import begin, fetch
from boxwright.factory.known_files import files_of, locked, ollama_file
from boxwright.factory.lock import Lock
from boxwright.factory.needs import needs_of
from boxwright.factory.offline import lacking
from boxwright.factory.origins import origins
from boxwright.factory.simulated import marked, refuse_simulated
from boxwright.model.catalogues import load_models, load_site
from boxwright.model.ollama import OllamaArtefact, archive_of
from boxwright.model.site import Artefacts, FirmwareArtefact, Mirrors, PackageRepository, Repositories, Site
from boxwright.provisioning.target import Choice, choose

DATA = b"an archive"
SHA256 = hashlib.sha256(DATA).hexdigest()
MIRRORS = Mirrors(debian="http://nowhere.invalid/d", debian_security="http://nowhere.invalid/s")


def own(path: Path, sha256: str = SHA256) -> OllamaArtefact:
    return OllamaArtefact(version="0.40.0", sha256=sha256, path=str(path))


def site_with(supplied: OllamaArtefact) -> Site:
    return load_site("lab").model_copy(update={"artefacts": Artefacts(ollama=(supplied,))})


def test_a_file_of_the_controller_is_locked_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ollama.tgz"
    path.write_bytes(DATA)
    (known,) = [one for one in files_of(site_with(own(path))) if one.version == "0.40.0"]
    made = locked(known)
    assert (made.kind, made.name, made.size, made.sha256) == ("archive", "ollama", len(DATA), SHA256)
    assert made.file == "ollama-linux-amd64.tgz"
    assert str(tmp_path) not in made.model_dump_json()
    assert known.places == (str(path),)


def test_another_file_than_the_site_says_and_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ollama.tgz"
    path.write_bytes(DATA)
    archive = archive_of("0.40.0", (own(path, "0" * 64),), "https://nowhere.invalid")
    assert archive
    with pytest.raises(BadInputError, match=f"ollama 0.40.0 has the sha256 {SHA256}, and 0000"):
        locked(ollama_file(archive))
    path.unlink()
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        locked(ollama_file(archive))


def test_a_file_whose_size_nobody_tells_is_refused_with_the_remedy() -> None:
    archive = archive_of("0.33.0", (), "http://127.0.0.1:9")
    assert archive
    with pytest.raises(BoxwrightError, match=r"nobody tells the size of ollama 0\.33\.0"):
        locked(ollama_file(archive))


def test_a_bundle_is_asked_for_the_archive_by_its_digest() -> None:
    from boxwright.model.site import ServedBundle

    fleet = choose(Choice(profile="lab-ollama"))
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
    bundle = ServedBundle(url="http://192.0.2.1:8873/lab-ollama-debian-12", suite="platform", key=key)
    behind = fleet.model_copy(update={"site": fleet.site.model_copy(update={"bundle": bundle})})
    before, after = fleet.ollama_archive, behind.ollama_archive
    assert before
    assert after
    assert after.urls == (f"http://192.0.2.1:8873/lab-ollama-debian-12/files/{before.sha256}",)
    assert (after.path, after.sha256) == (None, before.sha256)


def test_a_lock_of_twins_says_what_is_simulated_and_what_is_the_sites_own() -> None:
    mirror = PackageRepository(uri="https://m.example", key_url="https://m.example/k", key_fingerprint="0" * 40)
    site = load_site("lab").model_copy(update={"repositories": Repositories(docker=mirror)})
    names = {"docker-ce": "docker", "nvidia-driver-cuda": "nvidia", "nginx": "debian"}
    packages = tuple(
        artefact(name, name.encode(), kind="debian", archive=archive, path=f"{name}.deb")
        for name, archive in names.items()
    )
    archive = artefact("ollama", DATA, kind="archive")
    made = marked(Lock(profile="p", distribution="debian-12", artefacts=(*packages, archive)), site)
    assert {one.name for one in made.artefacts if one.simulated} == {"nvidia-driver-cuda", "ollama"}
    assert next(one for one in made.artefacts if one.name == "ollama").title == "SIMULATED archive ollama 1.0"
    real = site.model_copy(update={"twin": None})
    with pytest.raises(
        BadInputError, match=r"locked for twins.*SIMULATED Debian package nvidia-driver-cuda 1\.0, and 1 more"
    ):
        refuse_simulated(made, real)
    refuse_simulated(made, site)
    assert not any(one.simulated for one in marked(made.model_copy(update={"artefacts": packages}), real).artefacts)


def test_firmware_of_a_customer_is_locked_carried_and_missed(tmp_path: Path) -> None:
    """From the site's file to the bundle, through what a profile needs."""
    path = tmp_path / "BIOS(X12)2.4.bin"
    path.write_bytes(DATA)
    bios = FirmwareArtefact(part="bios", device="X12DPG", version="2.4", path=str(path), sha256=SHA256)
    fleet = choose(Choice(profile="lab"))
    site = fleet.site.model_copy(update={"artefacts": Artefacts(firmware=(bios,))})
    (known,) = needs_of(fleet.model_copy(update={"site": site}), "debian-12").files
    made = locked(known)
    assert made.title == "supplied firmware bios-X12DPG 2.4"
    assert (made.size, made.sha256, made.file) == (len(DATA), SHA256, "BIOS-X12-2.4.bin")
    lock = Lock(profile="lab", distribution="debian-12", artefacts=(made,))
    assert str(tmp_path) not in lock.text
    bundle = begin(tmp_path / "bundle")
    found = origins([made], lock, site, MIRRORS, catalogue=load_models(), progress=print)
    fetch(bundle, found, folders=[], python_index="", headers=dict, progress=print)
    assert bundle.artefact(SHA256).read_bytes() == DATA
    path.unlink()  # the bundle is carried into the room, and the site's file is not
    needs = replace(needs_of(fleet, "debian-12"), packages=(), unpacked=(), environments=(), builds=(), files=(known,))
    assert list(lacking(lock, needs)) == []
    other = lock.model_copy(update={"artefacts": (artefact("alpha", b"alpha"),)})
    assert list(lacking(other, needs)) == ["bios-X12DPG 2.4"]
    with pytest.raises(BadInputError, match=r"bios-X12DPG 2\.4 cannot be read"):
        locked(known)


def test_firmware_is_named_once() -> None:
    one = {"part": "nic", "device": "ConnectX-7", "version": "28.43", "path": "/v/fw.bin", "sha256": SHA256}
    with pytest.raises(ValueError, match="firmware: two files of one part, device and version"):
        Artefacts.model_validate({"firmware": [one, one | {"path": "/v/other.bin"}]})
