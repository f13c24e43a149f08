"""What KTransformers' ways of computing experts ask of processors, of memory and of weights.

Read out of the wheels of kt-kernel 0.7.2: which extension has which kernels (`kt_kernel/utils/`), and which
instructions stand in each. Its own pages ask for AMX where AVX-512 does: AMXINT4 and AMXINT8 were run on a processor
that has AVX-512 and no AMX, against torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from boxwright.model.architecture import Architecture
from boxwright.model.base import Frozen
from boxwright.model.catalogue import Build

Reads = Literal["converted", "published", "gguf"]

AMX = ("amx_bf16", "amx_int8", "amx_tile")  # kt_kernel/_cpu_detect.py: what its fastest extension asks for
AMX_KERNEL = (5, 16)  # the first Linux that hands the tile registers of AMX to programs
_AVX512 = ("avx512bw", "avx512f")
_AVX2 = ("avx2", "fma")

# The server, buffers and the system beside the experts. With it, 671B in AMXINT4 comes to the 350 GB of KTransformers'
# tutorial for DeepSeek V3.2.
_BESIDE_BYTES = 24_000_000_000


class Method(Frozen):
    """A value of `--kt-method`."""

    name: str
    needs: tuple[str, ...]  # flags of /proc/cpuinfo
    bits: float | None  # of a weight in memory, its share of the scales included; None: as many as in the file
    reads: Reads = "published"  # the model's own files, weights that were converted from them, or a GGUF beside them
    quantization: str | None = None  # of the builds that it reads as they are; None: any


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(name="AMXINT4", needs=_AVX512, bits=4, reads="converted"),
        Method(name="AMXINT8", needs=_AVX512, bits=8, reads="converted"),
        Method(name="LLAMAFILE", needs=_AVX2, bits=None, reads="gguf"),
        Method(name="FP8", needs=_AVX2, bits=8, quantization="FP8"),
        Method(name="BF16", needs=_AVX2, bits=16, quantization="BF16"),
        Method(name="FP8_PERCHANNEL", needs=_AVX512, bits=8),
        Method(name="RAWINT4", needs=_AVX2, bits=4.5),
        Method(name="GPTQ_INT4", needs=_AVX2, bits=4.5),
        Method(name="MXFP4", needs=_AVX2, bits=4.5),
        Method(name="MXFP8", needs=_AVX2, bits=8.5),
        Method(name="NVFP4", needs=_AVX2, bits=5),
    )
}


def method_name(settings: Mapping[str, object], build: Build | None, default: str) -> str:
    """How the experts are computed: as the profile says, else as the build of the weights makes it.

    Args:
        settings: Of the profile, by the engine's own names.
        build: The weights; None where they are not known.
        default: The engine's own default.
    """
    usual = "LLAMAFILE" if build and build.format == "gguf" else default
    return str(settings.get("--kt-method") or usual)


def missing_flags(method: Method, flags: Collection[str]) -> list[str]:
    """What processors with these flags lack for a method. Every processor with AMX has AVX-512."""
    known = {*flags, *(_AVX512 + _AVX2 if set(flags) >= set(AMX) else ())}
    return [flag for flag in method.needs if flag not in known]


def nearest(method: Method, flags: Collection[str]) -> str:
    """The methods that such processors do compute by, the ones that take as few bits first; empty: none."""
    bits = {one.name: one.bits or 4.5 for one in METHODS.values()}
    able = [one.name for one in METHODS.values() if not missing_flags(one, flags)]
    common = [name for name in ("AMXINT4", "LLAMAFILE", "AMXINT8", "FP8", "BF16") if name in able]
    return ", ".join(sorted(common, key=lambda name: abs(bits[name] - (method.bits or 4.5))))


def memory_bytes(method: Method, architecture: Architecture, weight_bytes: int) -> int:
    """Memory of the machine that a model takes: its experts, and what is beside them.

    Args:
        method: How they are computed.
        architecture: The model's shape.
        weight_bytes: Of the files that the method reads.
    """
    experts = architecture.experts
    if experts is None:
        return _BESIDE_BYTES
    if method.bits is None:
        return weight_bytes + _BESIDE_BYTES
    layers = architecture.layers - experts.dense_layers
    weights = layers * experts.count * 3 * architecture.hidden_size * experts.feed_forward_size
    return int(weights * method.bits / 8) + _BESIDE_BYTES


@dataclass(frozen=True)
class Box:
    """What a machine says of itself."""

    flags: frozenset[str]  # of its first processor, as /proc/cpuinfo shows them
    memory_bytes: int  # all of it
    kernel: str  # as `uname -r` says


def refusal(methods: Collection[str], needed_bytes: int, box: Box, variant: str = "") -> str:
    """Why a machine cannot compute by these methods, in one sentence, and what it could do; empty where it can.

    Args:
        methods: Names of `METHODS`.
        needed_bytes: Memory that the models take.
        box: The machine.
        variant: The extension that kt-kernel is told to load; empty: the fastest that the processors have.
    """
    for name in methods:
        method = METHODS[name]
        missing = missing_flags(method, box.flags)
        if missing:
            can = nearest(method, box.flags)
            other = f"they compute by {can}" if can else "kt-kernel has nothing for them, and llama.cpp has"
            return f"{name} needs processors with {' and '.join(missing)}, and these have not: {other}"
    if variant in ("", "amx") and set(AMX) <= box.flags and _kernel(box.kernel) < AMX_KERNEL:
        return (
            f"Linux {box.kernel} does not hand AMX to programs, and kt-kernel takes it where /proc/cpuinfo shows it: "
            "boot 5.16 or later, or set engine_settings.KT_KERNEL_CPU_VARIANT to avx512_bf16"
        )
    if box.memory_bytes < needed_bytes:
        return (
            f"{' and '.join(methods)} with this model needs {needed_bytes / 1e9:.0f} GB of memory, and the machine has "
            f"{box.memory_bytes / 1e9:.0f}: {_smaller(methods)}"
        )
    return ""


def _kernel(release: str) -> tuple[int, ...]:
    digits = release.partition("-")[0].split(".")[:2]
    return tuple(int(part) for part in digits if part.isdigit())


def _smaller(methods: Collection[str]) -> str:
    if any((METHODS[name].bits or 0) > 4 for name in methods):
        return "AMXINT4 takes the least of what is converted, and LLAMAFILE as much as its GGUF"
    return "LLAMAFILE takes as much as its GGUF, of which there are smaller ones"
