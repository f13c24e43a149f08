"""The tables in the repository are what the engines' own files say, and what they allow, the engines' own parsers take.

Four gigabytes of wheels are fetched, once, into Boxwright's cache. Debian's llama-server is unpacked there and run as
root.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from golden.stack_projection import given, names, sized_fleet

from boxwright import places
from boxwright.model.catalogues import INVENTORIES, load_engine, load_models, load_profile
from boxwright.model.engine_settings import EngineTable, Release, arguments
from boxwright.model.setting import Setting, Value
from boxwright.model.stack import Parallelism, Service
from boxwright.model.versions import release_key
from boxwright.model.weights import weights_of
from boxwright.serving.llama_cpp import llama_cpp_settings, placement
from boxwright.serving.vllm import Node, as_of, vllm_settings
from boxwright.sizing.offload import GIB
from tools.engine_settings import artefacts, files, readers

pytestmark = [pytest.mark.on_demand, pytest.mark.timeout(3600)]

VLLM = load_engine("vllm")
SAMPLES = {"boolean": True, "integer": 3, "number": 0.5, "text": "a word", "list": ("1", "2"), "json": "{}"}
# Flags that print something and end, or that look at once whether what they name is there.
NEEDS = {"--device": "none", "--mmproj-device": "none", "--spec-draft-device": "none", "--spec-type": "none"}
NEEDS |= {"--cpu-range": "0-1", "--cpu-range-batch": "0-1", "--spec-draft-cpu-range": "0-1", "--logit-bias": "15043+1"}
NEEDS |= {"--override-kv": "a=int:1", "--override-tensor": "x=CPU", "--spec-draft-override-tensor": "x=CPU"}
NEEDS |= {
    "--lora-scaled": "a:1",
    "--control-vector-scaled": "a:1",
    "--reasoning-format": "deepseek",
    "--json-schema": "{}",
}
NEEDS |= {"--chat-template-kwargs": "{}", "--fit-target": "1024", "--spec-synth-rates": "0.5", "--tensor-split": "3,1"}
NEEDS |= dict.fromkeys(("--cpu-mask", "--cpu-mask-batch", "--spec-draft-cpu-mask", "--spec-draft-cpu-mask-batch"), "ff")
NEEDS |= {"--lora-modules": "name=/srv/adapter"}
NEEDS |= dict.fromkeys(("--api-key-file", "--chat-template-file", "--grammar-file"), "/MANIFEST")
NEEDS |= dict.fromkeys(("--media-path", "--slot-save-path"), "/usr/")
NOT_TRIED = {"--cache-list", "--completion-bash", "--json-schema-file", "--list-devices", "--rpc", "--version"}


@pytest.mark.parametrize("engine", readers.READERS)
def test_a_table_is_what_the_engine_says(engine: str) -> None:
    path = INVENTORIES / "engines" / f"{engine}.yml"
    made = readers.read(engine, files.releases(path), cache(), print)
    before = path.read_text(encoding="utf-8")
    after = files.text(before, made)
    different = sorted(set(after.splitlines()) ^ set(before.splitlines()))
    assert different == []
    assert after == before


@pytest.mark.parametrize(
    ("engine", "parser", "package"), [("vllm", "vllm", "vllm"), ("sglang_kt", "sglang", "sglang-kt")]
)
def test_python_parsers_take_every_flag_as_it_is_written(engine: str, parser: str, package: str) -> None:
    table = load_engine(engine)
    given = ["--model-path=/m"] if parser == "sglang" else []
    commands = [[*given, *words] for words in written(table, table.versions[-1])]
    folder = artefacts.wheel(package, table.releases[-1], cache())
    assert len(commands) > 400
    assert readers.refused(parser, folder, commands) == []


def test_a_parser_refuses_what_the_table_refuses() -> None:
    table = load_engine("vllm")
    folder = artefacts.wheel("vllm", table.releases[-1], cache())
    wrong = [["--swap-space=4"], ["--dtype=bf16"], ["--max-num-seqs=many"], ["--enable-reasoning"]]
    assert readers.refused("vllm", folder, [*wrong, ["--dtype=half"]]) == wrong


@pytest.mark.parametrize(
    "name", [name for name in names() if any(one.deploy.startswith("vllm") for one in given(name))]
)
def test_what_a_box_is_told_is_taken_by_vllms_own_parser(name: str) -> None:
    """Sized and planned as a provision does it, host by host, with the profile's own flags."""
    for one in given(name):
        services = one.data[f"{one.deploy}_services"]
        for service in services:
            # A vendor's image says which release it holds; where that one was not read, those around it judge.
            version = one.data.get("vllm_version") or sized_fleet(name).profile.stack.engine_version
            command = [service["model_path"], *arguments(VLLM, version, service["settings"])]
            assert len(command) > 5
            for release in around(version):
                folder = artefacts.wheel("vllm", release, cache())
                assert readers.refused("vllm", folder, [command]) == [], (one.host, release.version)


def around(version: str) -> list[Release]:
    """The release itself if its parser was read, or those that were read before and after it."""
    read = {release.version: release for release in VLLM.releases}
    if version in read:
        return [read[version]]
    older = [one for one in VLLM.releases if release_key(one.version) < release_key(version)]
    newer = [one for one in VLLM.releases if release_key(one.version) > release_key(version)]
    return [older[-1], newer[0]]


def test_vllm_and_ray_of_several_machines_are_judged_too() -> None:
    assert [one.host for one in given("2x8xh20")] == ["box-1", "box-2"]
    (head, _) = given("2x8xh20-ray")
    assert head.data["vllm_services"][0]["settings"]["distributed-executor-backend"] == "ray"


def test_what_a_box_is_told_is_taken_by_sglang_kts_own_parser() -> None:
    (one,) = given("1x4090-kt")
    table = load_engine("sglang_kt")
    (release,) = (release for release in table.releases if release.version == one.data["ktransformers_version"])
    (service,) = one.data["ktransformers_services"]
    words = list(service["arguments"])
    assert {"--kt-method=AMXINT4", "--kt-num-gpu-experts=0"} <= set(words)
    folder = artefacts.wheel("sglang-kt", release, cache())
    assert readers.refused("sglang", folder, [words]) == []
    assert readers.refused("sglang", folder, [[*words, "--kt-methode=AMXINT4"]]) != []


def test_what_boxwright_tells_an_older_vllm_for_older_cards_is_taken_by_it() -> None:
    profile, table, model = load_profile("1xv100"), load_engine("vllm"), load_models().find("smollm2")
    assert model is not None
    for version in table.older_versions:
        release = next(release for release in table.releases if release.version == version)
        told = vllm_settings(profile.stack, model, profile.hardware, Parallelism(), Node(0, 1, "192.0.2.7"))
        command = ["/srv/models/m", *arguments(table, version, {"dtype": "half"} | as_of(table, version, told))]
        assert readers.refused("vllm", artefacts.wheel("vllm", release, cache()), [command]) == []


@pytest.mark.parametrize("version", load_engine("llama_cpp").versions)
def test_llama_server_takes_every_flag_as_it_is_written(version: str, tmp_path: Path) -> None:
    table = load_engine("llama_cpp")
    (release,) = (one for one in table.releases if one.version == version)
    assert artefacts.llama_server_help(release, cache())
    commands = [words for words in written(table, version) if words[0] not in NOT_TRIED]
    commands += [tuple(settings) for settings in told_to_llama_cpp(table, version)]
    commands += [words for release, words in told_by_profiles() if release == version]
    server = artefacts.llama_server(release, cache())
    refused = []
    for words in commands:
        there = [word.replace("/MANIFEST", __file__) if server[0] != "chroot" else word for word in words]
        words_and_end = [*server, *there, "--version"]
        done = subprocess.run(  # some flags name a file that is made at once
            words_and_end, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode or f"build {version[1:]}" not in done.stdout + done.stderr:
            refused.append(words)
    assert len(commands) > 300
    assert refused == []


def told_by_profiles() -> Iterator[tuple[str, tuple[str, ...]]]:
    """What profiles of the house tell llama-server, sized and planned as a provision does it, with its release."""
    packaged = load_engine("llama_cpp").cpu_version or ""
    for one in (one for name in names() for one in given(name) if one.deploy == "llama_cpp"):
        build = one.data["llama_cpp_build"]
        for service in one.data["llama_cpp_services"]:
            yield build["version"] if build else packaged, tuple(service["arguments"])


def test_llama_cpp_profiles_of_the_house_are_judged() -> None:
    told = dict(told_by_profiles())
    assert set(told) == set(load_engine("llama_cpp").versions)
    assert any("--n-cpu-moe" in words for words in told.values())


def told_to_llama_cpp(table: EngineTable, version: str) -> Iterator[tuple[str, ...]]:
    """What Boxwright tells it for boxes of every kind: cards, experts in main memory, nodes."""
    hardware = [load_profile(name).hardware for name in ("lab", "1xv100", "1x4090-kt", "4x4090")]
    models = [("smollm2", None), ("deepseek-r1-distill-qwen-7b", None), ("deepseek-r1-0528", "ud-q2_k_xl")]
    for box, (model, build) in itertools.product(hardware, models):
        service = Service(model=model, build=build, engine="llama_cpp", context_tokens=4096)
        weights = weights_of(service, load_models())
        cards = tuple(int(group.memory_gib * GIB) for group in box.accelerators for _ in range(group.count))
        placed = placement(service, weights, cards, {})
        settings = llama_cpp_settings(service, weights, box, placed, built=True, cards=bool(cards))
        yield arguments(table, version, settings)


def cache() -> Path:
    return places.cache() / "engine-settings"


def written(table: EngineTable, version: str) -> Iterator[tuple[str, ...]]:
    """Every flag of a release, with each of its choices, on and off."""
    for name in table.names(version):
        setting = table.find(name, version)
        if setting is not None and setting.kind == "flag":
            for value in _samples(setting):
                words = arguments(table, version, {name: value})
                if words:
                    yield words


def _samples(setting: Setting) -> Iterator[Value]:
    if setting.name in NEEDS:
        yield NEEDS[setting.name]
        return
    if setting.type == "boolean":
        yield from (True, False)
    elif setting.choices:
        yield from setting.choices
    else:
        yield SAMPLES[setting.type] if setting.items == "text" else [1, 2]
        yield from setting.also
