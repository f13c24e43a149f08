"""The command line by which llama.cpp is built: the same for every box of a kind, and said in full."""

from __future__ import annotations

import pytest

from boxwright.model.catalogues import load_engine
from boxwright.model.llama_cpp import ProgramBuild, ProgramSource
from boxwright.serving.llama_cpp_build import BASELINE, Cards, cuda_architectures, pinned_source, recipe
from deploys.operations.shelf import key_of

SUPPLIED = ProgramSource(sha256="ab" * 32, folder=None, path="/vendor/l.tar.gz", package=None, package_version=None)
AVX512 = ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw")


def built(*isa: str, cards: Cards | None = None, source: ProgramSource = SUPPLIED) -> ProgramBuild:
    return recipe("b11312", "0c1e57098", source, isa, cards)


def options(build: ProgramBuild) -> dict[str, str]:
    return dict(word.removeprefix("-D").split("=", 1) for word in build.cmake)


def test_the_command_line_for_processors_is_as_read() -> None:
    assert " ".join(built().cmake) == (
        "-DCMAKE_C_COMPILER=gcc-12 -DCMAKE_CXX_COMPILER=g++-12 -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF "
        "-DCMAKE_SKIP_RPATH=ON -DOpenMP_gomp_LIBRARY=/usr/lib/gcc/x86_64-linux-gnu/12/libgomp.a -DGGML_NATIVE=OFF "
        "-DGGML_CCACHE=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF "
        "-DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF -DGGML_SSE42=ON -DGGML_AVX=ON "
        "-DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX_VNNI=OFF -DGGML_AVX512=OFF "
        "-DGGML_AVX512_VBMI=OFF -DGGML_AVX512_VNNI=OFF -DGGML_AVX512_BF16=OFF -DGGML_AMX_TILE=OFF -DGGML_AMX_INT8=OFF "
        "-DGGML_AMX_BF16=OFF -DLLAMA_BUILD_NUMBER=11312 -DLLAMA_BUILD_COMMIT=0c1e57098 "
        "-DCMAKE_EXE_LINKER_FLAGS=-s -static-libgcc -static-libstdc++"
    )
    assert built().cpu_flags == BASELINE
    assert built().mounts == ()


def test_cards_add_the_compiler_of_the_toolkit_and_their_own_architectures() -> None:
    processors, cards = options(built()), options(built(cards=Cards(("sm_89",), "13.0")))
    assert {name: value for name, value in cards.items() if processors.get(name) != value} == {
        "GGML_CUDA": "ON",
        "GGML_CUDA_NCCL": "OFF",
        "CUDAToolkit_ROOT": "/usr/local/cuda-13.0",
        "CMAKE_CUDA_COMPILER": "/usr/local/cuda-13.0/bin/nvcc",
        "CMAKE_CUDA_HOST_COMPILER": "g++-12",
        "CMAKE_CUDA_ARCHITECTURES": "89-real",
        "CMAKE_EXE_LINKER_FLAGS": "-s -static-libgcc -static-libstdc++ -Wl,-rpath,/usr/local/cuda-13.0/lib64",
    }
    volta = built(cards=Cards(("sm_70",), "12.9"))
    assert options(volta)["CMAKE_CUDA_ARCHITECTURES"] == "70-real"
    assert volta.mounts == ("/usr/local/cuda-12.9",)


@pytest.mark.parametrize(
    ("targets", "architectures"),
    [
        (("sm_70",), "70-real"),
        (("sm_120",), "120-real"),  # llama.cpp's own CMakeLists.txt makes 120a of it
        (("sm_90", "sm_80", "sm_90"), "80-real;90-real"),
    ],
)
def test_architectures_follow_from_the_catalogue(targets: tuple[str, ...], architectures: str) -> None:
    assert cuda_architectures(targets) == architectures


@pytest.mark.parametrize(
    ("isa", "on"),
    [
        ((), set()),
        (("avx_vnni",), {"GGML_AVX_VNNI"}),
        (AVX512, {"GGML_AVX512"}),
        (AVX512[:-1], set()),  # one of the five that it takes is not named
        (("avx512_vnni", "avx512_bf16"), set()),  # without the rest they are nothing
        ((*AVX512, "avx512_vnni", "avx512vbmi"), {"GGML_AVX512", "GGML_AVX512_VNNI", "GGML_AVX512_VBMI"}),
        (("amx_tile", "amx_int8", "amx_bf16"), set()),  # not by GCC 12
    ],
)
def test_instruction_sets_are_those_that_the_profile_names(isa: tuple[str, ...], on: set[str]) -> None:
    plain, found = options(built()), options(built(*isa))
    assert {name for name, value in found.items() if value == "ON" and plain[name] == "OFF"} == on
    assert set(built(*isa).cpu_flags) >= {*BASELINE, *(AVX512 if "GGML_AVX512" in on else ())}


def test_every_ingredient_makes_another_build() -> None:
    kinds = [
        built(),
        built("avx_vnni"),
        built(cards=Cards(("sm_89",), "13.0")),
        built(cards=Cards(("sm_90",), "13.0")),
        built(cards=Cards(("sm_89",), "12.9")),
        built(source=SUPPLIED.model_copy(update={"sha256": "cd" * 32})),
        recipe("b11313", "0c1e57098", SUPPLIED, (), None),
    ]
    keys = {key_of({"cmake": one.cmake, "source": one.source.sha256, "compilers": ["g++-12"]}) for one in kinds}
    assert len(keys) == len(kinds)
    assert key_of({"cmake": built().cmake, "compilers": ["g++-12"]}) == key_of(
        {"compilers": ["g++-12"], "cmake": list(built().cmake)}
    )
    assert key_of({"cmake": [], "compilers": ["g++-12"]}) != key_of({"cmake": [], "compilers": ["g++-14"]})


def test_the_release_for_cards_has_a_source() -> None:
    table = load_engine("llama_cpp")
    (release,) = (one for one in table.releases if one.version == table.default_version)
    assert release.source
    source = pinned_source(release.source)
    assert (source.package, source.path) == ("llama-cpp-python", None)
