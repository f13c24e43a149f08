"""KTransformers on processors, memory and cards: what is refused when the profile is chosen, and what on the box."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile
from boxwright.model.compatibility import check_stack
from boxwright.model.ktransformers import AMX, METHODS, Box, memory_bytes, missing_flags, refusal
from boxwright.model.profile import Profile

CARDS, MODELS = load_accelerators(), load_models()
AVX512, AVX2 = ("avx512f", "avx512bw", "avx2", "fma"), ("avx2", "fma")
NO_CARD_EXPERTS = {"kt-num-gpu-experts": 0}


def checked(profile: Profile) -> None:
    check_stack(profile, load_engine, CARDS, MODELS)


def changed(stack: dict[str, Any], hardware: dict[str, Any] | None = None, isa: tuple[str, ...] = AMX) -> Profile:
    profile = load_profile("1x4090-kt")
    cpu = profile.hardware.cpu.model_copy(update={"isa": isa})
    machine = profile.hardware.model_copy(update={"cpu": cpu, "dimms": None} | (hardware or {}))
    settings = {"engine_settings": NO_CARD_EXPERTS}
    return profile.model_copy(update={"hardware": machine, "stack": profile.stack.model_copy(update=settings | stack)})


def refused(profile: Profile) -> tuple[str, str]:
    with pytest.raises(BadInputError) as error:
        checked(profile)
    assert error.value.where == "profile 1x4090-kt, stack"
    return error.value.message, error.value.hint


def kt(method: str) -> dict[str, Any]:
    return {"engine_settings": NO_CARD_EXPERTS | {"kt-method": method}}


@pytest.mark.parametrize(
    ("stack", "hardware", "isa"),
    [
        ({}, {}, AMX),
        ({}, {}, AVX512),  # as it was run on a processor without AMX
        (kt("FP8"), {"memory_gib": 768}, ()),
        ({"build": "ud-q2_k_xl"}, {}, ()),  # a GGUF makes the method
        (kt("LLAMAFILE") | {"build": "ud-q2_k_xl"}, {}, ()),
        ({"model": "qwen3-235b-a22b", "engine_settings": {}}, {}, AMX),
    ],
)
def test_what_can_run_is_taken(stack: dict[str, Any], hardware: dict[str, Any], isa: tuple[str, ...]) -> None:
    checked(changed(stack, hardware, isa))


@pytest.mark.parametrize(
    ("stack", "hardware", "isa", "message", "hint"),
    [
        (
            {},
            {},
            AVX2,
            "AMXINT4 needs processors with AMX or AVX-512, and hardware.cpu.isa names neither",
            "engine_settings.kt-method to LLAMAFILE",
        ),
        (kt("AMXINT8"), {"memory_gib": 768}, (), "AMXINT8 needs processors with AMX or AVX-512", "LLAMAFILE"),
        (kt("MOE_INT8"), {}, AMX, "kt-kernel has no kernels for MOE_INT8, as it is published", "AMXINT4, AMXINT8"),
        (
            {},
            {"memory_gib": 256},
            AMX,
            "deepseek-r1-0528/fp8 by AMXINT4 needs 351 GB of memory, and the machine has 275",
            "smaller GGUF",
        ),
        (kt("FP8"), {}, AMX, "deepseek-r1-0528/fp8 by FP8 needs 678 GB of memory, and the machine has 550", "AMXINT4"),
        (kt("BF16"), {}, AMX, "BF16 reads weights in BF16, and deepseek-r1-0528/fp8 is FP8", "to FP8 or AMXINT4"),
        (
            kt("LLAMAFILE"),
            {},
            AMX,
            "LLAMAFILE does not read deepseek-r1-0528/fp8, which is safetensors",
            "Set stack.build to a GGUF, such as ud-q4_k_xl, or leave kt-method out.",
        ),
        (
            kt("AMXINT4") | {"build": "ud-q2_k_xl"},
            {},
            AMX,
            "AMXINT4 does not read deepseek-r1-0528/ud-q2_k_xl, which is gguf",
            "Leave kt-method out.",
        ),
        (
            {"model": "deepseek-r1-distill-llama-70b"},
            {},
            AMX,
            "deepseek-r1-distill-llama-70b has no experts for KTransformers to compute on the processors",
            "vllm",
        ),
        (
            {"engine_settings": {}},
            {},
            AMX,
            "deepseek-r1-0528 with an expert of each layer on cards needs 27 GB there, and there are 25.8",
            "kt-num-gpu-experts to 0",
        ),
        ({"accelerators": ()}, {}, AMX, "KTransformers' server does not run without a card", "llama_cpp"),
        (
            {"engine_settings": {"kt-cpuinfer": 8}},
            {},
            AMX,
            "'--kt-cpuinfer' is set by Boxwright itself",
            "physical cores",
        ),
    ],
)
def test_what_cannot_run_is_refused(
    stack: dict[str, Any], hardware: dict[str, Any], isa: tuple[str, ...], message: str, hint: str
) -> None:
    told = refused(changed(stack, hardware, isa))
    assert message in told[0]
    assert hint in told[1]


def test_two_machines_are_not_joined() -> None:
    assert refused(changed({}).model_copy(update={"nodes": 2}))[0] == "KTransformers serves on one machine"


R1 = MODELS.find("deepseek-r1-0528")
GB = 1_000_000_000


def box(flags: tuple[str, ...] = (*AMX, *AVX512), gb: int = 550, kernel: str = "6.1.0-41-amd64") -> Box:
    return Box(frozenset(flags), gb * GB, kernel)


def test_the_memory_that_671b_takes_is_that_of_the_tutorial() -> None:
    assert R1
    of_files = R1.weight_bytes(R1.builds[0]) or 0
    found = {name: memory_bytes(METHODS[name], R1.architecture, of_files) // GB for name in ("AMXINT4", "FP8", "BF16")}
    assert found == {"AMXINT4": 350, "FP8": 677, "BF16": 1331}
    assert memory_bytes(METHODS["LLAMAFILE"], R1.architecture, 405 * GB) == 429 * GB


@pytest.mark.parametrize("kernel", ["5.16.0", "6.1.0-41-amd64", "6.12.107+deb13-amd64", "7.0"])
def test_a_box_that_has_it_all_is_taken(kernel: str) -> None:
    assert refusal(["AMXINT4"], 351 * GB, box(kernel=kernel)) == ""


@pytest.mark.parametrize(
    ("methods", "machine", "told"),
    [
        (
            ["AMXINT4"],
            box(AVX2),
            (
                "AMXINT4 needs processors with avx512bw and avx512f, and these have not: they compute by LLAMAFILE, "
                "FP8, BF16"
            ),
        ),
        (
            ["FP8"],
            box(("sse4_2",)),
            (
                "FP8 needs processors with avx2 and fma, and these have not: kt-kernel has nothing for them, and "
                "llama.cpp has"
            ),
        ),
        (
            ["AMXINT4"],
            box(kernel="5.10.0-32-amd64"),
            (
                "Linux 5.10.0-32-amd64 does not hand AMX to programs, and kt-kernel takes it where /proc/cpuinfo shows "
                "it: boot 5.16 or later, or set engine_settings.KT_KERNEL_CPU_VARIANT to avx512_bf16"
            ),
        ),
        (
            ["AMXINT4"],
            box(gb=270),
            (
                "AMXINT4 with this model needs 351 GB of memory, and the machine has 270: LLAMAFILE takes as much as "
                "its GGUF, of which there are smaller ones"
            ),
        ),
        (
            ["FP8"],
            box(gb=270),
            (
                "FP8 with this model needs 351 GB of memory, and the machine has 270: AMXINT4 takes the least of what "
                "is converted, and LLAMAFILE as much as its GGUF"
            ),
        ),
    ],
)
def test_a_box_that_has_not_is_refused_in_a_sentence(methods: list[str], machine: Box, told: str) -> None:
    assert refusal(methods, 351 * GB, machine) == told


def test_an_old_kernel_matters_where_amx_is_used_alone() -> None:
    assert refusal(["AMXINT4"], GB, box(AVX512, kernel="5.10.0")) == ""
    assert refusal(["AMXINT4"], GB, box(kernel="5.10.0"), variant="avx512_bf16") == ""


def test_processors_with_amx_have_avx512_whether_it_is_named_or_not() -> None:
    assert missing_flags(METHODS["AMXINT4"], AMX) == []
    assert missing_flags(METHODS["AMXINT4"], AMX[:2]) == ["avx512bw", "avx512f"]


def test_every_method_is_one_that_the_server_takes() -> None:
    setting = load_engine("sglang_kt").find("--kt-method", "0.7.2")
    assert setting
    assert set(METHODS) < set(setting.choices)
