"""Boxes out of bundles that hold more than Debian's packages: vendors' repositories, archives, source, kernels.

What vendors publish is SIMULATED here, as for every twin; apt, its signatures and pins, and what is built are real.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bundled_box import Bundled, changed
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import read_lock

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(2400)]

BUILT = """\
name: lab-built
summary: llama.cpp built from source on a twin
hardware:
  cpu: {sockets: 1, cores_per_socket: 2}
  memory_gib: 4
  disk_gib: 6
stack:
  model: smollm2-135m-instruct
  engine: llama_cpp
  llama_cpp_program: source
  context_tokens: 4096
  parallel_requests: 2
  chat_page: none
"""
# Site, profile, and an artefact of its own whose damage is named.
CASES = [
    pytest.param(("bv-ollama", "debian-12"), "lab-ollama", "SIMULATED archive ollama", id="ollama"),
    pytest.param(("bv-cards", "debian-12"), "8x4090", "SIMULATED Debian package nvidia-driver-cuda", id="cards"),
    pytest.param(("bv-cards13", "debian-13"), "8x4090", "SIMULATED Debian package docker-ce", id="cards-13"),
    pytest.param(("bv-built", "debian-12"), "lab-built", "source llama.cpp", id="built"),
    pytest.param(("bv-vllm", "debian-12"), "lab-vllm", "Python wheel vllm", id="vllm"),
    pytest.param(("bv-kt", "debian-12"), "1x4090-kt", "Python wheel kt-kernel", id="kt"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them share one bundle."""
    return tmp_path_factory.mktemp("bundle")


@pytest.mark.parametrize(("twin_site", "profile", "named"), CASES, indirect=["twin_site"])
def test_a_box_is_made_without_a_route(
    boxwright: Boxwright, twin_site: str, profile: str, named: str, place: Path
) -> None:
    if profile == "lab-built":
        (place / "lab-built.yml").write_text(BUILT)
        profile = str(place / "lab-built.yml")
        site = Path(twin_site)  # builds of earlier runs are on a shelf elsewhere: here it is built
        site.write_text(f"{site.read_text()}mirrors: {{builds: {place}/builds}}\n")
        boxwright = replace(boxwright, patience_s=1800)  # two busy cores took more than ten minutes for the build
    made = Bundled.of(boxwright, profile, twin_site, place)
    wire = made.up()
    wire.cut()

    # One flipped bit: refused by name before anything changes.
    artefact = next(one for one in read_lock(made.lock).artefacts if one.title.startswith(named))
    path = Bundle(made.folder).artefact(artefact.sha256)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    refused = made.provision()
    assert refused.code == Exit.ERROR
    assert artefact.title in refused.kind("error")[0]["message"]
    assert not refused.kind("event")
    path.write_bytes(data)

    # The box: made, verified as far as a twin can be, and left alone by the second run.
    ran = made.provision()
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert {check["result"] for check in ran.kind("check")} <= {"pass", "unproven"}
    second = made.provision()
    assert (second.code, changed(second)) == (Exit.OK, []), second.text[-3000:]
    assert wire.counted() == {}


def test_what_a_vendor_has_no_more_is_named(boxwright: Boxwright, tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text("name: bv-gone\ntwin: {distribution: debian-12}\nhosts: [{name: bv-gone-1}]\n")
    lock = tmp_path / "lock.json"
    assert boxwright("bundle.lock", "--profile", "8x4090", "--site", str(site), "--to", str(lock)).code == Exit.OK
    shelf = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", "bv-gone", "vendors", "nvidia")
    (package,) = shelf.glob("nvidia-driver-cuda_580.*.deb")
    package.unlink()
    told = boxwright("bundle.fetch", "--lock", str(lock), "--bundle", str(tmp_path / "b"), "--site", str(site))
    assert told.code == Exit.ERROR
    message = told.kind("error")[0]["message"]
    assert message.startswith("withdrawn: SIMULATED Debian package nvidia-driver-cuda 580.")
    boxwright("lab.down", "--site", str(site))
