"""What a burn-in brings for NVIDIA's cards: packages of a SIMULATED vendor, and programs that the real nvcc compiles.

The sources are SIMULATED and tiny (`simulated_card_programs`); compiler, headers and NCCL are NVIDIA's own, of their
Python wheels. In the place of the driver's libraries, and of cuBLAS, lies a copy of the CUDA runtime, so that programs
start on a twin, which has no card.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench
from lab_command import Boxwright
from test_lab_burnin import shell

from boxwright.burnin.card_builds import card_builds
from boxwright.errors import Exit
from boxwright.factory.wheels import Index
from boxwright.lab import RunningTwin, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.card_programs import CARD_PROGRAMS
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors

# Wheels of 400 MB, and compilers of 500 MB: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

SOURCES = Path(__file__).parent / "simulated_card_programs"
TOOLKIT = "/usr/local/cuda-13.0"
CUDA = ("nvidia-cuda-nvcc", "nvidia-cuda-runtime", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl")
WHEELS = {**dict.fromkeys(CUDA, "13.0"), "nvidia-nccl-cu13": "2.28"}  # and their releases


@pytest.mark.parametrize("twin_site", [("test-cards", "debian-12")], indirect=True)
def test_packages_for_cards_come_of_their_cuda_and_go_again(boxwright: Boxwright, twin_site: str) -> None:
    words = ("--profile", "2xa100", "--site", twin_site)
    assert boxwright("provision", *words, "--stages", "base,nvidia_driver", "--yes").code == Exit.OK
    box = shell(boxwright, twin_site)
    asked = (
        "dpkg-query --show libnccl2 libnccl-dev 'datacenter-gpu-manager-4-*' 2>/dev/null; "
        "systemctl is-active nvidia-dcgm; ls /etc/apt/preferences.d"
    )
    before = box(asked)
    burn = ("burnin", *words, "--only", "gpu", "--minutes", "0.1")
    kept = boxwright(*burn, "--keep")
    assert kept.code == Exit.OK, kept.text[-3000:]
    lines = box(asked).splitlines()
    assert [line.split("\t") for line in lines if line.startswith(("libnccl", "datacenter"))] == [
        ["datacenter-gpu-manager-4-core", "1:4.5.2-1"],
        ["datacenter-gpu-manager-4-cuda13", "1:4.5.2-1"],
        ["datacenter-gpu-manager-4-proprietary", "1:4.5.2-1"],
        ["datacenter-gpu-manager-4-proprietary-cuda13", "1:4.5.2-1"],
        ["libnccl-dev", "2.28.9-1+cuda13.0"],  # and not that of CUDA 14, which is newer
        ["libnccl2", "2.28.9-1+cuda13.0"],
    ]
    assert {"active", "boxwright-burn-in"} <= set(lines)
    again = boxwright(*burn)
    assert again.code == Exit.OK, again.text[-3000:]
    assert box(asked) == before


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar archive of NVIDIA's compiler as it lies on a box, and of NCCL."""
    folder = tmp_path_factory.mktemp("wheels")
    with Index(resolve(Mirrors())) as index:
        for project, release in WHEELS.items():
            unpack(wheel(index, project, release, folder), folder)
    root, cuda = folder / "root", folder / "nvidia/cu13"
    (root / "usr/local").mkdir(parents=True)
    cuda.rename(root / TOOLKIT.lstrip("/"))
    lib = root / TOOLKIT.lstrip("/") / "lib"
    (lib.parent / "lib64").symlink_to("lib")
    (lib / "stubs").mkdir()
    runtime = (lib / "libcudart.so.13").read_bytes()
    for name in ("libcudart.so", "libcublas.so", "stubs/libcuda.so", "stubs/libnvidia-ml.so"):
        (lib / name).write_bytes(runtime)
    for place, pattern in (("usr/include", "include/*"), ("usr/lib/x86_64-linux-gnu", "lib/libnccl.so.2")):
        (root / place).mkdir(parents=True)
        for path in (folder / "nvidia/nccl").glob(pattern):
            path.rename(root / place / path.name)
    archive = folder / "toolkit.tar"
    subprocess.run(["tar", "--owner=0", "--group=0", "-C", root, "-cf", archive, "."], check=True)
    return archive


def wheel(index: Index, project: str, release: str, folder: Path) -> Path:
    """The newest wheel of a project's release."""
    begin = f"{project.replace('-', '_')}-{release}."
    offers = [one for one in index.offers(project) if one.file.startswith(begin) and one.file.endswith("x86_64.whl")]
    newest = max(offers, key=lambda one: int(one.file.removeprefix(begin).split("-")[0].split(".")[0]))
    assert newest.sha256
    return index.download(project, newest.sha256, folder / newest.file)


def unpack(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            made = Path(archive.extract(member, folder))
            if not member.is_dir():
                made.chmod(0o755)
    path.unlink()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory, toolkit: Path) -> Iterator[Boxes]:
    hardware = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=10)
    folder = tmp_path_factory.mktemp("cards")
    with deploy_bench("test-card-programs", [TwinSpec("c13", "debian-13", hardware)], folder) as made:
        (twin,) = made.twins
        with toolkit.open("rb") as stream:
            subprocess.run([*way(twin), "tar -C / -xf -"], stdin=stream, check=True, timeout=300)
        made.data = data(made, folder)
        yield made


def way(twin: RunningTwin) -> list[str]:
    ssh = ["ssh", "-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}", "-p", str(twin.port)]
    return [*ssh, f"{twin.user}@{twin.address}"]


def data(boxes: Boxes, folder: Path) -> dict[str, Any]:
    """What the deploy is given, with the simulated sources."""
    sources = {one.name: packed(one.name, folder) for one in CARD_PROGRAMS}
    mirrors = resolve(Mirrors())
    return {
        "card_programs_builds": [
            one.model_dump(mode="json") for one in card_builds(("sm_80", "sm_89"), "13.0", sources, {})
        ],
        "card_programs_shelf": str(folder / "shelf"),
        "card_programs_debian_mirror": mirrors.debian,
        "card_programs_debian_keyring": DEBIAN_KEYRING,
        "card_programs_debian_check_valid_until": mirrors.check_valid_until,
        "card_programs_proxy": boxes.lab.proxy_url,
    }


def packed(name: str, folder: Path) -> Path:
    path = folder / f"{name}.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted((SOURCES / name).rglob("*")):
            if file.is_file():
                content = file.read_bytes()
                member = tarfile.TarInfo(f"{name}-1/{file.relative_to(SOURCES / name)}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def test_programs_are_compiled_by_nvidias_compiler_and_start(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("card_programs") > 0
    for one in CARD_PROGRAMS:
        place = f"/opt/boxwright/card-programs/{one.name}/current"
        record = json.loads(boxes.on(twin, f"cat {place}/BUILD.json"))
        assert record["made_by"]["nvcc"].startswith("13.0.")
        assert record["tree"] == one.tree
        assert f"SIMULATED {one.program}" in boxes.on(twin, f"{place}/bin/{one.program} -h")
    kernel = boxes.on(twin, "ls /opt/boxwright/card-programs/gpu-burn/current/bin")
    assert kernel.split() == ["compare.fatbin", "gpu_burn"]
    assert len(list(Path(boxes.data["card_programs_shelf"]).glob("*.tar.gz"))) == 3
    assert boxes.changes("card_programs") == 0


def test_what_was_built_comes_from_the_controller_without_compilers(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.on(twin, "rm -rf /opt/boxwright/card-programs /opt/boxwright/card-compilers")
    without = [one | {"source": None, "lacking": "no source"} for one in boxes.data["card_programs_builds"]]
    assert boxes.changes("card_programs", card_programs_builds=without) > 0
    assert boxes.on(twin, "ls /opt/boxwright").split() == ["card-programs"]


def test_a_program_that_a_person_put_there_is_used_and_no_other_brought(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.on(
        twin, "rm -rf /opt/boxwright/card-programs; mkdir -p /opt/gpu-burn; install /bin/true /opt/gpu-burn/gpu_burn"
    )
    assert boxes.changes("card_programs") > 0
    assert boxes.on(twin, "ls /opt/boxwright/card-programs").split() == ["nccl-tests", "nvbandwidth"]
    boxes.on(twin, "rm -r /opt/gpu-burn")


def test_without_source_and_without_a_build_it_is_refused_with_what_to_do(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.on(twin, "rm -rf /opt/boxwright/card-programs")
    lacking = "the source of gpu-burn cannot be fetched\nName a mirror in mirrors.github of the site."
    first = boxes.data["card_programs_builds"][0] | {"source": None, "lacking": lacking}
    with tempfile.TemporaryDirectory() as empty:
        process = boxes.deploy("card_programs", card_programs_builds=[first], card_programs_shelf=empty)
        output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Name a mirror in mirrors.github of the site." in output


def test_a_box_without_nccl_is_told_what_the_build_needs(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    boxes.on(twin, "mkdir -p /root/aside; mv /usr/include/nccl* /root/aside")
    last = boxes.data["card_programs_builds"][-1]
    with tempfile.TemporaryDirectory() as empty:
        process = boxes.deploy("card_programs", card_programs_builds=[last], card_programs_shelf=empty)
        output, _ = process.communicate(timeout=600)
    boxes.on(twin, "mv /root/aside/* /usr/include")
    assert process.returncode != 0
    assert "the build needs /usr/include/nccl*, and this machine has none" in output
