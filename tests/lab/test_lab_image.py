"""Golden images: the same bits twice, a machine that boots them by UEFI and tells its fingerprint, and a box of it.

Two builds and an emulated boot, from which a box is provisioned: the better part of an hour.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from image_build import built_image, bundle_of_an_image, key_of_a_person
from image_machine import SERIAL, Machine, booted
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.factory.image.finishing import SEALED, TREE
from boxwright.lab import Lab, TwinSpec
from boxwright.lab.prerequisites import ensure
from boxwright.model.catalogues import load_profile
from boxwright.transport.host_keys import FINGERPRINT
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(7200)]

LAB = "test-image"
BOOT_S = 900
DISK_GIB = 12
# Nothing here tells the time, no firmware of QEMU's tells how a disk is, and emulation makes the kernel complain.
WAIVED = ("clock.synchronised", "disks.health", "logs.kernel")


@dataclass(frozen=True)
class Built:
    """Images of one lock, from two builds."""

    distribution: str
    bundle: Path
    key: Path  # the private one
    folders: tuple[Path, Path]

    @property
    def name(self) -> str:
        return f"lab-{self.distribution}"

    @property
    def images(self) -> tuple[Path, Path]:
        one, two = (folder / f"{self.name}.raw" for folder in self.folders)
        return one, two


@pytest.fixture(scope="module")
def patient(boxwright: Boxwright) -> Boxwright:
    return Boxwright(boxwright.environment, patience_s=5400)


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def built(request: pytest.FixtureRequest, patient: Boxwright, tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("image")
    bundle, key = bundle_of_an_image(patient, "lab", request.param, place), key_of_a_person(place)
    folders = (place / "one", place / "two")
    for folder in folders:
        built_image(patient, bundle, key, folder)
    return Built(request.param, bundle, key, folders)


def test_two_builds_of_one_lock_have_the_same_bits(built: Built) -> None:
    one, two = (Path(f"{image}.sha256").read_text() for image in built.images)
    assert one == two, explained(built)
    trees = [(folder / TREE).read_bytes() for folder in built.folders]
    assert trees[0] == trees[1]
    bills = [(folder / "sbom.cdx.json").read_bytes() for folder in built.folders]
    assert bills[0] == bills[1]


def test_what_lies_beside_an_image_is_what_was_signed(built: Built, patient: Boxwright) -> None:
    (folder, _) = built.folders
    told = patient("evidence.check", str(folder))
    assert told.code == Exit.OK, told.text
    (evidence,) = told.kind("evidence")
    assert set(evidence["held"]) == {f"{built.name}.raw", "sbom.cdx.json", TREE, f"{built.name}.lock.json"}
    assert evidence["absent"] == []


def test_nothing_of_one_box_is_in_the_tree(built: Built) -> None:
    tree = (built.folders[0] / TREE).read_text().splitlines()
    paths = {line.split("\t")[0] for line in tree}
    assert "/usr/sbin/nginx" in paths
    assert any(path.endswith(".gguf") for path in paths)
    for pattern in (
        r"/etc/ssh/ssh_host_.*",
        r"/etc/boxwright/pki/.*",
        r".*/webui\.db",
        r"/var/log/.*\.log",
        r".*/receipt\.json",
    ):
        assert not [path for path in paths if re.fullmatch(pattern, path)], pattern
    assert [line.split("\t")[3] for line in tree if line.startswith("/etc/machine-id\t")] == ["0"]
    assert "/etc/boxwright/pki" in (built.folders[0] / SEALED).read_text().splitlines()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A wire with a twin on it, so that it is there."""
    ensure(print, vms=True, further={"dnsmasq": "dnsmasq-base"})
    with fresh_lab(LAB) as lab:
        lab.up([TwinSpec("neighbour", "debian-12", load_profile("lab").hardware)])
        yield lab


@pytest.fixture(scope="module")
def machine(built: Built, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(built.images[0], tmp_path_factory.mktemp("machine"), LAB, gib=DISK_GIB) as machine:
        yield machine


@pytest.fixture(scope="module")
def pinned(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person writes down from the console."""
    path = tmp_path_factory.mktemp("pinned") / "consoles.txt"
    path.write_text(f"{machine.line(BOOT_S)}\n")
    return path


@pytest.fixture(scope="module")
def site(machine: Machine, pinned: Path, built: Built, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("site") / "site.yml"
    waivers = "".join(
        f"  - {{check: {one}, by: the tests, reason: an emulated machine on a bench}}\n" for one in WAIVED
    )
    host = f"{{name: line-1, address: {machine.address}, serial: {SERIAL}}}"
    path.write_text(
        f"name: image-{built.distribution}\nhosts: [{host}]\n"
        f"ssh: {{key: {built.key}, connect_timeout_s: 60}}\nwaivers:\n{waivers}"
    )
    return str(path)


def on(machine: Machine, site: str, built: Built, pins: Path, script: str) -> str:
    endpoint = Endpoint("line-1", machine.address, 22, "root", built.key, pins, 60)
    return check(endpoint, script, timeout_s=600)


def test_a_machine_tells_its_fingerprint_and_is_enrolled_by_it(
    machine: Machine, pinned: Path, site: str, patient: Boxwright
) -> None:
    line = pinned.read_text()
    assert f"serial {SERIAL} {machine.address} ssh-ed25519" in line
    machine.await_ssh(BOOT_S)
    enrolled = patient("enroll", "--site", site, "--fingerprint", str(pinned))
    assert enrolled.code == Exit.OK, enrolled.text
    (key,) = enrolled.kind("host_key")
    assert (key["result"], [key["fingerprint"]]) == ("pinned", FINGERPRINT.findall(line))


def test_what_boots_is_sealed_closed_and_as_large_as_its_disk(
    machine: Machine, site: str, built: Built, patient: Boxwright, boxwright: Boxwright
) -> None:
    pins = Path(boxwright.environment["BOXWRIGHT_STATE"]) / f"sites/image-{built.distribution}/known_hosts"
    tell = lambda script: on(machine, site, built, pins, script).strip()  # noqa: E731
    assert tell("systemctl is-system-running --wait") == "running", tell("systemctl --failed --no-legend")
    assert re.fullmatch(r"[0-9a-f]{32}", tell("cat /etc/machine-id"))
    assert int(tell("df --output=size -k / | tail -1")) > (DISK_GIB - 2) * 2**20
    listening = tell("ss -Hltn | awk '{print $4}' | grep -v '^127[.]' | grep -v '^.::1.' | sort -u").splitlines()
    assert {one.rpartition(":")[2] for one in listening} == {"22"}
    assert "hook input" in tell("nft list ruleset")
    assert tell("cat /boot/efi/loader/entries/boxwright-*.conf | grep -c ^linux") == "1"


def test_the_box_is_provisioned_out_of_the_bundle_and_verifies(site: str, built: Built, patient: Boxwright) -> None:
    provision = ("provision", "--profile", "lab", "--site", site, "--bundle", str(built.bundle), "--yes")
    ran = patient(*provision)
    assert ran.failed_checks == {}
    assert ran.code == Exit.OK, ran.text[-4000:]


def explained(built: Built) -> str:
    """Why two images differ: their lists, and where these are the same, diffoscope."""
    lists = [str(folder / TREE) for folder in built.folders]
    differ = subprocess.run(["diff", "--unified=0", *lists], capture_output=True, text=True, check=False).stdout
    if differ:
        return differ[:10_000]
    argv = ["diffoscope", "--max-report-size", "20000", *map(str, built.images)]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=1800).stdout
    except FileNotFoundError:
        return "the lists of files are the same; install diffoscope-minimal to see where the disks differ"
