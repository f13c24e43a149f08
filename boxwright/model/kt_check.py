"""Whether KTransformers serves a model on a profile's machine, before anything is installed."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.model.ktransformers import AMX, METHODS, Method, memory_bytes, missing_flags
from boxwright.model.profile import Profile
from boxwright.model.stack import Service
from boxwright.model.weights import Weights

# KTransformers' tutorial for DeepSeek V3.2, whose layers are those of R1 and V3, with one expert of each on cards.
EXPERTS_ON_CARDS_GB = 27
_671B = 600_000_000_000  # parameters; the model family that the tutorial is of has more

Refusal = tuple[str, str]  # what cannot run, and the nearest thing that can


def check_ktransformers(
    profile: Profile, service: Service, settings: Mapping[str, object], method: str, weights: Weights | None
) -> Refusal | None:
    """Hold a service of KTransformers against its weights, the processors, the memory and the cards.

    Args:
        profile: Whose service it is.
        service: The service.
        settings: The profile's, by the engine's own names.
        method: How the experts are computed.
        weights: What it serves; None where that is not known.
    """
    if not profile.cards_of(service):
        return "KTransformers' server does not run without a card", "Take llama_cpp, which does."
    if profile.nodes > 1:
        return "KTransformers serves on one machine", "Set nodes to 1, or take vllm."
    if service.numa.policy == "interleave":
        return (
            "KTransformers places its memory on NUMA nodes itself",
            "Leave stack.numa out, or set its policy to bind.",
        )
    how = METHODS.get(method)
    if how is None:
        return (
            f"kt-kernel has no kernels for {method}, as it is published",
            f"Set engine_settings.kt-method to one of {', '.join(METHODS)}.",
        )
    found = _processors(profile, how)
    if weights is not None:
        found = found or _weights(how, weights) or _memory(profile, how, weights)
        found = found or _memory_of_cards(profile, service, settings, weights)
    return found


def _processors(profile: Profile, method: Method) -> Refusal | None:
    isa = profile.hardware.cpu.isa
    if method.reads != "converted" or not missing_flags(method, isa):  # every server in use has AVX2
        return None
    return (
        (
            f"{method.name} needs processors with AMX or AVX-512, and hardware.cpu.isa names neither {', '.join(AMX)} "
            f"nor {', '.join(method.needs)}"
        ),
        (
            "Set hardware.cpu.isa to what /proc/cpuinfo shows as flags, or engine_settings.kt-method to LLAMAFILE, "
            "which needs AVX2."
        ),
    )


def _weights(method: Method, weights: Weights) -> Refusal | None:
    model, build = weights.model, weights.build
    if model.architecture.experts is None:
        return f"{model.id} has no experts for KTransformers to compute on the processors", "Take vllm or llama_cpp."
    if (method.reads == "gguf") != (build.format == "gguf"):
        ggufs = [one.name for one in model.builds if one.format == "gguf"]
        named = f"stack.build to a GGUF, such as {ggufs[0]}" if ggufs else "stack.model to one with a GGUF"
        other = f"Set {named}, or leave" if method.reads == "gguf" else "Leave"
        return f"{method.name} does not read {weights.name}, which is {build.format}", f"{other} kt-method out."
    if method.quantization and not build.quantization.startswith(method.quantization):
        return (
            f"{method.name} reads weights in {method.quantization}, and {weights.name} is {build.quantization}",
            f"Set engine_settings.kt-method to {build.quantization} or AMXINT4.",
        )
    return None


def _memory(profile: Profile, method: Method, weights: Weights) -> Refusal | None:
    of_files = weights.model.weight_bytes(weights.build) or 0
    needed = memory_bytes(method, weights.model.architecture, of_files)
    there = int(profile.hardware.memory_gib * 2**30)
    if there >= needed:
        return None
    return (
        f"{weights.name} by {method.name} needs {needed / 1e9:.0f} GB of memory, and the machine has {there / 1e9:.0f}",
        "Set engine_settings.kt-method to AMXINT4, or stack.build to a smaller GGUF, or take a smaller model.",
    )


def _memory_of_cards(
    profile: Profile, service: Service, settings: Mapping[str, object], weights: Weights
) -> Refusal | None:
    """Whether the cards hold what KTransformers keeps of a 671B model on them."""
    if weights.model.parameters < _671B or settings.get("--kt-num-gpu-experts") == 0:
        return None
    memory = [group.memory_gib for group in profile.hardware.accelerators for _ in range(group.count)]
    total_gb = sum(memory[card] for card in profile.cards_of(service)) * 2**30 / 1e9
    if total_gb >= EXPERTS_ON_CARDS_GB:
        return None
    return (
        (
            f"{weights.model.id} with an expert of each layer on cards needs {EXPERTS_ON_CARDS_GB} GB there, and there "
            f"are {total_gb:.1f}"
        ),
        "Set engine_settings.kt-num-gpu-experts to 0, or give the service another card.",
    )
