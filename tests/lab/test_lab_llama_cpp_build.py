"""llama.cpp built from source: by one box for all, through the shelf on the controller.

Most of this builds a SIMULATED source that compiles in a second, so that the way can be walked often: the sandbox, the
lock, the digest. The last tests, on demand, build llama.cpp itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, llama_cpp_words, models_data
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.lab import Lab, TwinSpec
from boxwright.model.catalogues import load_engine, load_models
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.llama_cpp import ProgramSource
from boxwright.serving.llama_cpp_build import recipe

# Takes long: for the weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1500)]

HERE = Path(__file__).parent
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=6)
KEY = "lab-engine-key-90ab"
VERSION = "b11400"  # between those whose settings were read


def archive(folder: Path, **changed: str) -> tuple[Path, str]:
    """The simulated source as a site would supply it, with other contents of some files; and its digest."""
    path = folder / f"llama.cpp-{VERSION}.tar.gz"
    with tarfile.open(path, "w:gz") as target:
        for file in sorted((HERE / "simulated_llama_cpp").iterdir()):
            content = changed.get(file.name.replace(".", "_"), file.read_text()).encode()
            member = tarfile.TarInfo(f"llama.cpp-{VERSION}/{file.name}")
            member.size, member.mode = len(content), 0o644
            target.addfile(member, io.BytesIO(content))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def build(source: Path, sha256: str, *isa: str) -> dict[str, Any]:
    """How the deploy is told to build it."""
    where = ProgramSource(sha256=sha256, folder=None, path=str(source), package=None, package_version=None)
    return recipe(VERSION, sha256[:9], where, isa, None).model_dump(mode="json")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    specs = [TwinSpec("m12", "debian-12", HARDWARE), TwinSpec("m13", "debian-13", HARDWARE)]
    folder = tmp_path_factory.mktemp("builds")
    with deploy_bench("test-builds", specs, folder) as made:
        made.data = data(made.lab, folder)
        yield made


def data(lab: Lab, folder: Path) -> dict[str, Any]:
    model = load_models().find("smollm2")
    assert model
    service = llama_cpp_service(arguments=llama_cpp_words())
    return {
        **models_data(lab, "/srv/models/smollm2", [file.model_dump() for file in model.builds[0].files]),
        **llama_cpp_data(lab, KEY, [service]),
        "llama_cpp_build": build(*archive(folder)),
        "llama_cpp_builds": str(folder / "shelf"),
    }


def record(boxes: Boxes, number: int) -> dict[str, Any]:
    """What is installed on a twin, as it tells itself."""
    text = boxes.on(boxes.twins[number], "cat /opt/boxwright/llama-cpp-built/current/BUILD.json")
    return dict(json.loads(text))


def have_compilers(boxes: Boxes) -> list[bool]:
    return ["current" in boxes.on(twin, "ls /opt/boxwright/compilers 2>&1 || :") for twin in boxes.twins]


def forget(boxes: Boxes) -> None:
    """Take the program from all twins, and the compilers with it."""
    for twin in boxes.twins:
        boxes.on(twin, "rm -rf /opt/boxwright/llama-cpp-built /opt/boxwright/compilers")


def test_one_of_two_boxes_builds_and_the_other_is_given_it(boxes: Boxes) -> None:
    assert boxes.changes("models")
    assert boxes.changes("llama_cpp")
    assert sorted(have_compilers(boxes)) == [False, True]
    first, second = record(boxes, 0), record(boxes, 1)
    assert first == second
    assert first["made_on"] == boxes.twins[have_compilers(boxes).index(True)].name
    assert first["made_by"]["g++-12"].startswith("12.")
    assert "-DGGML_NATIVE=OFF" in first["cmake"]
    assert boxes.changes("llama_cpp") == 0
    for twin in boxes.twins:
        assert boxes.call(twin, "http://127.0.0.1:8000/health") == (200, "SIMULATED\n")
        left = "ls -A /var/lib/boxwright/builds 2>/dev/null; stat -c '%U %a' /opt/boxwright/llama-cpp-built/*/bin/*"
        lines = boxes.on(twin, left).splitlines()
        assert set(lines) <= {".lock", "root 755"}  # neither archives nor what was compiled
    (kept,) = Path(boxes.data["llama_cpp_builds"]).glob("*.tar.gz")
    assert kept.with_name(kept.name.replace(".tar.gz", ".json")).exists()


def test_a_build_that_is_on_the_shelf_comes_in_seconds_and_without_compilers(boxes: Boxes) -> None:
    made = record(boxes, 0)
    forget(boxes)
    assert boxes.changes("llama_cpp")
    assert have_compilers(boxes) == [False, False]
    assert [record(boxes, number) for number in (0, 1)] == [made, made]


def test_a_damaged_build_is_noticed_and_built_again(boxes: Boxes) -> None:
    made = record(boxes, 0)
    (kept,) = Path(boxes.data["llama_cpp_builds"]).glob("*.tar.gz")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    forget(boxes)
    assert boxes.changes("llama_cpp")
    assert sorted(have_compilers(boxes)) == [False, True]
    assert record(boxes, 0) == record(boxes, 1)
    assert record(boxes, 0)["made_at"] > made["made_at"]


def test_who_finds_the_lock_taken_waits_and_takes_what_is_there_then(boxes: Boxes) -> None:
    shelf = Path(boxes.data["llama_cpp_builds"])
    (kept,) = shelf.glob("*.json")
    aside = shelf / "aside"
    kept.rename(aside)  # as long as there is no record, there is no build
    forget(boxes)
    lock = shelf / f".{kept.stem}.lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = boxes.deploy("llama_cpp")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=25)
        assert have_compilers(boxes) == [False, False]
        aside.rename(kept)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    assert have_compilers(boxes) == [False, False]


def test_another_recipe_is_another_build_and_the_old_one_stays(boxes: Boxes, tmp_path: Path) -> None:
    before = record(boxes, 0)
    isa = ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw")
    flags = boxes.on(boxes.twins[0], "grep -m1 ^flags /proc/cpuinfo").split()
    other = build(*archive(tmp_path), *isa)
    process = boxes.deploy("llama_cpp", llama_cpp_build=other)
    output, _ = process.communicate(timeout=300)
    if set(isa) <= set(flags):
        assert process.returncode == 0, output[-3000:]
        assert "-DGGML_AVX512=ON" in record(boxes, 0)["cmake"]
        versions = boxes.on(boxes.twins[0], "ls /opt/boxwright/llama-cpp-built | wc -l")
        assert versions.strip() == "3"  # two builds, and `current`
    else:
        assert "set hardware.cpu.isa of the profile to what they have" in output
    assert record(boxes, 0)["key"] != before["key"] or not set(isa) <= set(flags)


def test_processors_that_lack_something_are_refused_before_anything_is_built(boxes: Boxes) -> None:
    asked = boxes.data["llama_cpp_build"] | {"cpu_flags": ["avx2", "mmx_of_tomorrow"]}
    forget(boxes)
    process = boxes.deploy("llama_cpp", llama_cpp_build=asked)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "it is built for processors with mmx_of_tomorrow, and this machine's have none" in output
    assert have_compilers(boxes) == [False, False]


def test_source_that_does_not_compile_shows_the_compilers_words_and_leaves_nothing(
    boxes: Boxes, tmp_path: Path
) -> None:
    before = sorted(path.name for path in Path(boxes.data["llama_cpp_builds"]).glob("*.json"))
    broken = build(*archive(tmp_path, server_cpp="int main() { return nothing_of_the_kind; }\n"))
    process = boxes.deploy("llama_cpp", llama_cpp_build=broken)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert output.count("'nothing_of_the_kind' was not declared in this scope") >= 2  # each of the two tried
    assert sorted(path.name for path in Path(boxes.data["llama_cpp_builds"]).glob("*.json")) == before
    for twin in boxes.twins:
        left = set(boxes.on(twin, "ls -A /var/lib/boxwright/builds").split())
        assert left <= {".lock", f"{broken['source']['sha256']}.tar"}


def test_another_archive_than_the_promised_one_is_not_built(boxes: Boxes, tmp_path: Path) -> None:
    source, _ = archive(tmp_path)
    process = boxes.deploy("llama_cpp", llama_cpp_build=build(source, "0" * 64))
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert f"is not the source with sha256 {'0' * 64}" in output


PROFILE = """
name: built
summary: the lab's box with llama.cpp built from source
hardware:
  cpu: {sockets: 1, cores_per_socket: 2}
  memory_gib: 4
  disk_gib: 6
stack:
  model: smollm2-135m-instruct
  engine: llama_cpp
  llama_cpp_program: source
  chat_page: none
"""


def site(folder: Path, name: str, hosts: int, **sections: Any) -> str:
    """A site of twins; JSON is YAML."""
    twins = [{"name": f"{name}-{number}"} for number in range(1, hosts + 1)]
    path = folder / f"{name}.yml"
    path.write_text(json.dumps({"name": name, "twin": {"distribution": "debian-12"}, "hosts": twins, **sections}))
    return str(path)


def seconds_of(ran: Ran, host: str, resource: str) -> float:
    """How long a host took for an operation."""
    found = [event for event in ran.kind("event") if event["host"] == host and resource in event["resource"]]
    return max(float(event.get("seconds") or 0) for event in found)


def test_boxwrights_own_engine_builds_what_the_site_supplies(boxwright: Boxwright, tmp_path: Path) -> None:
    """Two workers, two hosts: the lock is between processes here, and files travel over the engine's own connection."""
    source, sha256 = archive(tmp_path)
    profile = tmp_path / "built.yml"
    profile.write_text(PROFILE)
    supplied = {"llama_cpp": {"path": str(source), "version": VERSION, "sha256": sha256}}
    shelf = tmp_path / "shelf"
    place = site(tmp_path, "test-own", 2, artefacts=supplied, mirrors={"builds": str(shelf)})
    words = ("provision", "--profile", str(profile), "--site", place, "--yes", "--stages", "base,models,llama_cpp")
    try:
        ran = boxwright(*words)
        assert ran.code in (Exit.OK, Exit.PARTIAL), ran.text[-3000:]  # without a gateway, verify has what to say
        outcomes = [event for event in ran.kind("event") if "built for this box" in event["resource"]]
        assert [event["outcome"] for event in outcomes if event["phase"] == "finished"] == ["changed", "changed"]
        assert len(list(shelf.glob("*.tar.gz"))) == 1
    finally:
        boxwright("lab.down", "--site", place)


@pytest.mark.on_demand
@pytest.mark.timeout(3000)
def test_llama_cpp_itself_is_built_once_and_a_second_box_has_it_in_seconds(
    boxwright: Boxwright, tmp_path: Path
) -> None:
    profile = tmp_path / "built.yml"
    profile.write_text(PROFILE)
    mirrors = {"mirrors": {"builds": str(tmp_path / "shelf")}}
    took = {}
    for name in ("test-first", "test-second"):
        place = site(tmp_path, name, 1, **mirrors)
        words = ("provision", "--profile", str(profile), "--site", place, "--yes")
        try:
            ran = replace(boxwright, patience_s=2400)(*words)
            failed = [check for check in ran.kind("check") if check["result"] == "fail"]
            assert (failed, ran.code) == ([], Exit.OK)  # verified: it answers, by the gateway, and makes sense
            took[name] = seconds_of(ran, f"{name}-1", "built for this box")
            again = boxwright(*words)
            changed = [event["resource"] for event in again.kind("event") if event["outcome"] == "changed"]
            assert (again.code, changed) == (Exit.OK, [])
        finally:
            boxwright("lab.down", "--site", place)
    assert took["test-first"] > 60
    assert took["test-second"] < 30, took
    (kept,) = (tmp_path / "shelf").glob("*.json")
    assert load_engine("llama_cpp").default_version in kept.read_text()
