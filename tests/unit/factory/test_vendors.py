"""What is locked of vendors is what the roles themselves say, for the machine that they say it of."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from factory.bundles import artefact

from boxwright import places
from boxwright.errors import BoxwrightError
from boxwright.factory.lock import Lock
from boxwright.factory.role_words import RoleWords
from boxwright.factory.vendor_keys import primary_fingerprints, vendor_keys
from boxwright.factory.vendors import VendorNeeds, vendor_needs, vendor_repository
from boxwright.lab.vendors.repository import KEY, build
from boxwright.model.catalogues import load_site
from boxwright.model.site import Distribution, PackageRepository
from boxwright.model.variables import ContainerRuntimeVariables, NvidiaDriverVariables
from boxwright.places import ROOT

OWN = PackageRepository(
    uri="https://mirror.example/nvidia", suite="/", key_url="https://mirror.example/key", key_fingerprint="0" * 40
)


ROCM = artefact(
    "rocm-hip-runtime", b"rocm", kind="debian", version="7.2.4.70204-93~24.04", archive="rocm", path="pool/r.deb"
)


def test_amds_repository_is_that_of_the_release_which_a_lock_holds() -> None:
    found = vendor_repository("rocm", load_site("lab"), Lock(profile="p", distribution="debian-13", artefacts=(ROCM,)))
    assert (found.uri.rpartition("/")[2], found.suite) == ("7.2.4", "noble")


def driver(**changes: object) -> NvidiaDriverVariables:
    return NvidiaDriverVariables.model_validate(
        {"branch": 580, "flavour": "open", "repository": None, "proxy": None} | changes
    )


def containers(**changes: object) -> ContainerRuntimeVariables:
    none = {"registry_mirrors": (), "repository": None, "toolkit_repository": None, "proxy": None, "no_proxy": ()}
    return ContainerRuntimeVariables.model_validate(none | changes)


def test_a_driver_comes_with_what_its_module_is_built_with_and_a_kernel_for_that() -> None:
    needs = vendor_needs([driver()], "debian-12")
    assert needs.packages == ("nvidia-driver-cuda", "nvidia-persistenced", "nvidia-kernel-open-dkms")
    assert needs.built_with == ("linux-headers-amd64", "dkms", "linux-image-amd64")
    assert "Pin: version 580.*" in needs.preferences["nvidia"]
    closed = vendor_needs([driver(flavour="closed", fabric_manager=True)], "debian-12")
    assert {"nvidia-kernel-dkms", "nvidia-fabricmanager"} <= set(closed.packages)


@pytest.mark.parametrize(("distribution", "packages"), [("debian-12", set()), ("debian-13", {"docker-cli"})])
def test_debians_docker_is_another_one_on_each_release(distribution: Distribution, packages: set[str]) -> None:
    needs = vendor_needs([containers(source="debian")], distribution)
    assert set(needs.packages) == {"nftables", "apparmor", "docker.io", *packages}
    assert needs.repositories == {}
    assert "docker-ce" in needs.preferences["docker"]


def test_a_sites_own_repository_goes_before_the_vendors() -> None:
    assert vendor_needs([driver(repository=OWN)], "debian-12").repositories == {"nvidia": OWN}
    site = load_site("lab")
    lock = Lock(profile="p", distribution="debian-13", artefacts=(ROCM,))
    assert vendor_repository("nvidia", site, lock).uri.endswith("/debian13/x86_64")
    own = site.model_copy(update={"repositories": site.repositories.model_copy(update={"nvidia": OWN})})
    assert vendor_repository("nvidia", own, lock) == OWN


def test_preferences_are_those_of_the_role() -> None:
    words = RoleWords(["nvidia_driver"], {"nvidia_driver_branch": 570}, {"nvidia_driver_read": ["id=debian"]})
    text = words.text("nvidia_driver", "preferences.j2")
    assert text.startswith((ROOT / "templates/nvidia_driver/preferences.j2").read_text().partition("\n")[0])
    assert "Pin: version 570.*" in text


def test_the_key_itself_is_meant_and_none_that_another_calls_its_subkey() -> None:
    vendors, strangers = "A" * 40, "B" * 40
    rest = "u:4096:1:0000000000000000:1:::u:::scESC::::::23::0:"
    told = f"tru::1:\npub:{rest}\nfpr:::::::::{strangers}:\nuid:u::::1::\nsub:{rest}\nfpr:::::::::{vendors}:\n"
    assert primary_fingerprints(told) == [strangers]
    words = RoleWords(["apt_repository"], {}, {"apt_repository_came": told.splitlines()})
    assert words.value("apt_repository_came_keys") == [strangers]
    several = told + f"pub:{rest}\nrvk:::1::::::C:80:\nfpr:::::::::{vendors}:\n"
    assert primary_fingerprints(several) == [strangers, vendors]
    words = RoleWords(["apt_repository"], {}, {"apt_repository_came": several.splitlines()})
    assert words.value("apt_repository_came_keys") == [strangers, vendors]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_box_trusts_a_file_of_keys_again_only_where_it_has_the_known_one_alone(count: int) -> None:
    own, told = "A" * 40, [line for name in "AB"[:count] for line in ("pub:u:4096:", f"fpr:::::::::{name * 40}:")]
    given = {"apt_repository_source": {"key_fingerprint": own}}
    words = RoleWords(["apt_repository"], given, {"apt_repository_trusted": told})
    assert words.value("apt_repository_is_strange") is (count != 1)


def test_a_key_is_held_against_the_fingerprint_that_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    place = f"file://{folder}"
    right = PackageRepository(uri=place, key_url=f"{place}/{KEY}", key_fingerprint=build(folder, []))
    with vendor_keys(VendorNeeds(repositories={"nvidia": right})) as keys:
        assert keys["nvidia"].path.read_bytes() == (folder / KEY).read_bytes()
        assert keys["nvidia"].artefact.version == right.key_fingerprint
    wrong = right.model_copy(update={"key_fingerprint": "0" * 40})
    with (
        pytest.raises(BoxwrightError, match=f"is not the key 0000.*, but {right.key_fingerprint}"),
        vendor_keys(VendorNeeds(repositories={"nvidia": wrong})),
    ):
        pass
    # Whoever has the mirror adds a key of his own to the file, and signs what he likes by that.
    (tmp_path / "another").mkdir()
    strange = build(tmp_path / "another", [])
    with tempfile.TemporaryDirectory(dir=places.sockets(), ignore_cleanup_errors=True) as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet"]
        subprocess.run([*gpg, "--import", str(folder / KEY), str(tmp_path / "another" / KEY)], check=True)
        exported = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True)
    (folder / "both.asc").write_bytes(exported.stdout)
    with (
        pytest.raises(BoxwrightError, match=f"is not the key {right.key_fingerprint} alone.*{strange}"),
        vendor_keys(VendorNeeds(repositories={"nvidia": right.model_copy(update={"key_url": f"{place}/both.asc"})})),
    ):
        pass
    gone = right.model_copy(update={"key_url": f"{place}/gone"})
    with (
        pytest.raises(BoxwrightError, match="key of repository nvidia cannot be had"),
        vendor_keys(VendorNeeds(repositories={"nvidia": gone})),
    ):
        pass
