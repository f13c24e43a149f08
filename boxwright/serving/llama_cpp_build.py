"""How llama.cpp is built for a kind of box: what its configuration is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from boxwright.model.engine_settings import ReleaseSource
from boxwright.model.llama_cpp import ProgramBuild, ProgramSource
from boxwright.model.site import LlamaCppArtefact

TARGETS = ("llama-server", "llama-cli", "llama-bench", "llama-gguf-split", "llama-quantize")

# x86-64-v3, which every server processor since 2015 has: what llama.cpp itself takes for a build that is not native.
BASELINE = ("sse4_2", "avx", "avx2", "bmi2", "fma", "f16c")
# What llama.cpp calls an instruction set, and the flags of /proc/cpuinfo that it needs. AMX is left out: compiled by
# GCC 12 it crashed at the first answer, where it was tried (GGML_NATIVE=ON).
_INSTRUCTION_SETS = {
    "GGML_SSE42": ("sse4_2",),
    "GGML_AVX": ("avx",),
    "GGML_AVX2": ("avx2",),
    "GGML_BMI2": ("bmi2",),
    "GGML_FMA": ("fma",),
    "GGML_F16C": ("f16c",),
    "GGML_AVX_VNNI": ("avx_vnni",),
    "GGML_AVX512": ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
    "GGML_AVX512_VBMI": ("avx512vbmi",),
    "GGML_AVX512_VNNI": ("avx512_vnni",),
    "GGML_AVX512_BF16": ("avx512_bf16",),
    "GGML_AMX_TILE": (),
    "GGML_AMX_INT8": (),
    "GGML_AMX_BF16": (),
}
_NEEDS_AVX512 = ("GGML_AVX512_VBMI", "GGML_AVX512_VNNI", "GGML_AVX512_BF16")

_COMPILER = {"CMAKE_C_COMPILER": "gcc-12", "CMAKE_CXX_COMPILER": "g++-12"}
# The C library is the box's own; all else is in the program, as a bare box has neither libstdc++ nor libgomp.
_LINKED = "-s -static-libgcc -static-libstdc++"
_OPENMP = "/usr/lib/gcc/x86_64-linux-gnu/12/libgomp.a"
# Nothing is fetched while it is built, and nothing that it does not need is built. UI: the page in the server.
_PLAIN = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "CMAKE_SKIP_RPATH": "ON",
    "OpenMP_gomp_LIBRARY": _OPENMP,
    "GGML_NATIVE": "OFF",
    "GGML_CCACHE": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def instruction_sets(isa: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What of llama.cpp's instruction sets is compiled, each said, and what a processor must be able to do for it.

    Args:
        isa: Flags of /proc/cpuinfo that a profile asks of its processors, besides x86-64-v3.
    """
    there = {*BASELINE, *isa}
    chosen = {name for name, flags in _INSTRUCTION_SETS.items() if flags and there.issuperset(flags)}
    if "GGML_AVX512" not in chosen:
        chosen -= set(_NEEDS_AVX512)
    options = {name: "ON" if name in chosen else "OFF" for name in _INSTRUCTION_SETS}
    return options, tuple(flag for name, flags in _INSTRUCTION_SETS.items() if name in chosen for flag in flags)


def cuda_architectures(targets: Iterable[str]) -> str:
    """Of the catalogue's targets (`sm_89`), what CMake compiles for: finished code for these cards and no other."""
    numbers = sorted({int(target.removeprefix("sm_")) for target in targets})
    return ";".join(f"{number}-real" for number in numbers)


def cuda_folder(version: str) -> str:
    """Where role `cuda_toolkit` has a release of NVIDIA's toolkit."""
    return f"/usr/local/cuda-{version}"


@dataclass(frozen=True)
class Cards:
    """Cards that a program is built for.

    Attributes:
        targets: As the catalogue of accelerators names them, `sm_89`.
        cuda: Release of NVIDIA's toolkit that compiles for them.
    """

    targets: tuple[str, ...]
    cuda: str


def recipe(version: str, commit: str, source: ProgramSource, isa: Iterable[str], cards: Cards | None) -> ProgramBuild:
    """How a release is built.

    Args:
        version: llama.cpp's own number of the build, `b11312`.
        commit: What the program is to say of its source.
        source: Where the source is.
        isa: What the profile asks of processors.
        cards: That it serves on; None: processors alone.
    """
    instructions, flags = instruction_sets(isa)
    options = _COMPILER | _PLAIN | instructions
    options |= {"LLAMA_BUILD_NUMBER": version.removeprefix("b"), "LLAMA_BUILD_COMMIT": commit}
    linked = _LINKED
    mounts: tuple[str, ...] = ()
    if cards:
        folder = cuda_folder(cards.cuda)
        mounts = (folder,)
        linked += f" -Wl,-rpath,{folder}/lib64"  # the toolkit's libraries; the driver's are where the system looks
        options |= {
            "GGML_CUDA": "ON",
            "GGML_CUDA_NCCL": "OFF",  # it would be used if the machine that builds had it
            "CUDAToolkit_ROOT": folder,
            "CMAKE_CUDA_COMPILER": f"{folder}/bin/nvcc",
            "CMAKE_CUDA_HOST_COMPILER": "g++-12",
            "CMAKE_CUDA_ARCHITECTURES": cuda_architectures(cards.targets),
        }
    options["CMAKE_EXE_LINKER_FLAGS"] = linked
    return ProgramBuild(
        version=version,
        source=source,
        cmake=tuple(f"-D{name}={value}" for name, value in options.items()),
        targets=TARGETS,
        mounts=mounts,
        cpu_flags=flags,
    )


def pinned_source(source: ReleaseSource) -> ProgramSource:
    """The source of a release that the table of the engine pins."""
    return ProgramSource(
        sha256=source.sha256,
        folder=source.folder,
        path=None,
        package=source.package,
        package_version=source.package_version,
    )


def supplied_source(artefact: LlamaCppArtefact) -> ProgramSource:
    """The source that a site supplies."""
    return ProgramSource(sha256=artefact.sha256, folder=None, path=artefact.path, package=None, package_version=None)
