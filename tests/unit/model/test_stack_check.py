"""Engines, models and machines that do not go together are refused when the profile is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, profile_names
from boxwright.model.compatibility import check_drivers, check_stack
from boxwright.model.drivers import CudaToolkitPolicy, NvidiaDriverPolicy
from boxwright.model.profile import Profile

CARDS, MODELS = load_accelerators(), load_models()
SHARDS = (
    "Set stack.engine_version to 0.30.0 or later, or take a build of one file, such as ud-tq1_0. Or merge the "
    "files by the deploy gguf, and name the merged one as a build of a catalogue of your own."
)
DRIVER = (
    "ollama 0.33.0 asks for an NVIDIA driver from 550 on, and the profile has 535: it would compute on the "
    "processor without a word"
)


def checked(profile: Profile, cards: AcceleratorCatalogue = CARDS) -> None:
    check_stack(profile, load_engine, cards, MODELS)


def changed(name: str, **stack: Any) -> Profile:
    profile = load_profile(name)
    return Profile.model_validate(profile.model_dump() | {"stack": profile.stack.model_dump() | stack})


def refusal(profile: Profile) -> tuple[str, str, str]:
    with pytest.raises(BadInputError) as refused:
        checked(profile)
    return refused.value.where, refused.value.message, refused.value.hint


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_can_run(name: str) -> None:
    checked(load_profile(name))


@pytest.mark.parametrize(
    ("name", "stack", "message", "hint"),
    [
        (
            "1xv100",
            {"engine": "vllm", "engine_version": "0.20.2"},
            "vllm 0.20.2 has nothing for Tesla V100: 0.19.1 is the last release that has",
            "Set stack.engine_version to 0.19.1 or earlier. On this card run: ollama.",
        ),
        (
            "8x5090",
            {"engine_version": "0.19.1"},
            "vllm 0.19.1 has nothing for GeForce RTX 5090 yet: 0.20.2 is the first release that has",
            "Set stack.engine_version to 0.20.2 or later.",
        ),
        (
            "1xv100",
            {"engine": "ktransformers"},
            "ktransformers does not run on Tesla V100",
            "On this card run: vllm up to 0.19.1, ollama.",
        ),
        (
            "8x910b",
            {"engine": "vllm"},
            "vllm is not known to run on Ascend 910B",
            "On this card run: vllm_ascend from 0.23.0.",
        ),
        (
            "8x4090",
            {"engine_settings": {"swap-space": 4, "enforce_eagre": True}},
            (
                "engine_settings: vllm 0.33.0 does not have '--swap-space' any more: 0.19.1 is the first release known "
                "without it"
            ),
            (
                "Leave it out: requests that do not fit wait, and are computed again.\n"
                "Also wrong: vllm 0.33.0 has no setting 'enforce_eagre'. Did you mean '--enforce-eager'?"
            ),
        ),
        (
            "8x4090",
            {"engine_settings": {"--tensor-parallel-size": 4}},
            "engine_settings: '--tensor-parallel-size' is set by Boxwright itself",
            "Set stack.parallelism.tensor.",
        ),
        (
            "8x4090",
            {"engine_version": "0.50.0"},
            "engine_version: vllm 0.50.0 is newer than 0.33.0, the newest release whose settings are known",
            "Take one from 0.7.3 to 0.33.0.",
        ),
        (
            "1xv100",
            {"engine_settings": {"OLLAMA_PORT": 1}},
            "engine_settings: 'OLLAMA_PORT' never was a setting of ollama",
            "The port is part of OLLAMA_HOST: set stack.engine_port.",
        ),
        (
            "8x4090",
            {"engine": "ollama", "engine_version": "0.17.7", "model": "deepseek-r1-0528", "build": "ud-iq1_s"},
            "deepseek-r1-0528/ud-iq1_s is 4 files, and ollama 0.17.7 takes one",
            SHARDS,
        ),
        (
            "8x4090",
            {"engine": "tensorrt_llm"},
            "tensorrt_llm is not known to run on GeForce RTX 4090",
            "On this card run: vllm, ollama, ktransformers.",
        ),
        (
            "1xv100",
            {"engine": "vllm", "engine_version": "0.10.2", "engine_settings": {"dtype": "bfloat16"}},
            "Tesla V100 has no bfloat16: it needs compute capability 8.0, and the card has 7.0",
            "Set engine_settings.dtype to half.",
        ),
        (
            "1xv100",
            {"engine": "vllm", "engine_version": "0.10.2", "engine_settings": {"-q": "awq"}},
            "weights in awq need compute capability 7.5 with vllm 0.10.2, and Tesla V100 has 7.0",
            "Take weights in gptq or bitsandbytes or float16.",
        ),
        (
            "1xv100",
            {"engine": "vllm", "engine_version": "0.10.2", "engine_settings": {"quantization": "fp8"}},
            "weights in fp8 need compute capability 8.0 with vllm 0.10.2, and Tesla V100 has 7.0",
            "Take weights in gptq or bitsandbytes or float16.",
        ),
        (
            "1xv100",
            {"engine": "vllm", "engine_version": "0.10.2", "model": "deepseek-r1-0528"},
            "weights in fp8 need compute capability 8.0 with vllm 0.10.2, and Tesla V100 has 7.0",
            "Take weights in gptq or bitsandbytes or float16.",
        ),
        (
            "2xa100",
            {"engine_settings": {"kv-cache-dtype": "fp8_e4m3"}},
            "A100 does not compute in FP8: a cache in fp8_e4m3 needs compute capability 8.9, and the card has 8.0",
            "Leave engine_settings.kv-cache-dtype out.",
        ),
        (
            "2xa100",
            {"engine_version": "0.19.1", "engine_settings": {"quantization": "modelopt"}},
            "weights in modelopt need compute capability 8.9 with vllm 0.19.1, and A100 has 8.0",
            "Take weights in fp8 or awq or gptq or bitsandbytes or float16.",
        ),
    ],
)
def test_what_cannot_run_is_refused(name: str, stack: dict[str, Any], message: str, hint: str) -> None:
    assert refusal(changed(name, **stack)) == (f"profile {name}, stack", message, hint)


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("1xv100", {"engine": "vllm"}),  # by its release for old cards
        ("1xv100", {"engine": "vllm", "engine_version": "0.10.2", "engine_settings": {"dtype": "half"}}),
        ("1xv100", {"engine": "vllm", "engine_version": "0.10.2", "engine_settings": {"quantization": "gptq"}}),
        ("2xa100", {"engine_settings": {"quantization": "fp8"}}),  # as weights alone, computed in 16 bits
        ("8x4090", {"engine_settings": {"kv-cache-dtype": "fp8", "quantization": "fp8"}}),
        ("8x910b", {"engine_settings": {"gpu-memory-utilization": 0.9}}),
        ("8x4090", {"engine_version": "0.33.1"}),
    ],
)
def test_what_can_run_is_taken(name: str, stack: dict[str, Any]) -> None:
    checked(changed(name, **stack))


def test_each_service_is_held_against_its_own_cards() -> None:
    further = {"name": "old", "model": "smollm2", "engine": "ollama", "engine_port": 8001, "accelerators": [7]}
    stack = {"accelerators": [0, 1], "further": [further | {"engine_settings": {"OLLAMA_HOST": "0.0.0.0"}}]}
    assert refusal(changed("8x4090", **stack)) == (
        "profile 8x4090, stack.further.0",
        "engine_settings: 'OLLAMA_HOST' is set by Boxwright itself",
        "Engines listen on loopback, at stack.engine_port; the gateway faces out.",
    )


def test_ollama_asks_for_a_driver_that_it_computes_with() -> None:
    profile = changed("2x4090")
    assert profile.nvidia_driver
    old = profile.model_copy(update={"nvidia_driver": profile.nvidia_driver.model_copy(update={"branch": 535})})
    assert refusal(old) == (
        "profile 2x4090, stack",
        DRIVER,
        "Set nvidia_driver.branch to 550 or later.",
    )
    checked(old.model_copy(update={"stack": old.stack.model_copy(update={"engine_version": "0.17.7"})}))


def test_shards_are_taken_by_the_releases_that_group_them() -> None:
    checked(changed("8x4090", engine="ollama", model="deepseek-r1-0528", build="ud-iq1_s"))
    checked(changed("8x4090", engine="ollama", engine_version="0.17.7", model="deepseek-r1-0528", build="ud-tq1_0"))


def test_a_service_on_the_processors_is_not_held_against_the_cards() -> None:
    checked(changed("1xv100", engine="vllm", accelerators=[]))


def test_a_card_that_nobody_knows_holds_nothing_up() -> None:
    none = AcceleratorCatalogue(documents={}, accelerators=())
    check_stack(changed("1xv100", engine="vllm"), load_engine, none, MODELS)


def test_an_unknown_model_is_left_to_the_fleet() -> None:
    checked(changed("8x4090", model="no-such-model"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"nvidia_driver": NvidiaDriverPolicy(branch=580, flavour="closed")},
            "GeForce RTX 5090 does not work with the closed kernel modules of branch 580",
        ),
        ({"cuda_toolkit": CudaToolkitPolicy(version="12.6")}, "CUDA 12.6 does not know GeForce RTX 5090 yet"),
    ],
)
def test_blackwell_takes_open_modules_and_a_cuda_that_knows_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as refused:
        check_drivers(load_profile("8x5090").model_copy(update=changes), CARDS)
    assert refused.value.message == message
