"""TensorRT-LLM's container images: those whose digests are known, and what the engine asks of a box."""

from __future__ import annotations

import re
from collections.abc import Iterator

from boxwright.model.catalogue import Model
from boxwright.model.profile import Profile
from boxwright.model.stack import Service
from boxwright.model.weights import Weights

# Eight public files, of four projects by what stands in them, name this digest for the tag 1.2.1; some had it out of a
# pull of their own. The registry itself was not asked. Of the table's other releases no such digest was found.
IMAGES = {
    "1.2.1": (
        "nvcr.io/nvidia/tensorrt-llm/release@sha256:33cd085b772947bd22b7273886539331420404e5d2a4a039945241945ff927b9"
    )
}
# The image of 1.2.1 was seen to hold PyTorch of NVIDIA's release 25.12. That this is CUDA 13, which asks for 580, is
# recalled and was not looked up.
_DRIVER_OF_1_2 = 580
_NATIVE_FP8 = (8, 9)
_READS = re.compile(r"BF16|FP16|FP32|FP8")
# By vLLM's names, which the catalogue of models has.
_REASONING = {"deepseek_r1": "deepseek-r1", "qwen3": "qwen3"}

Found = tuple[str, str]  # what is wrong, and what to do instead


def image_of(service: Service, version: str) -> str | None:
    """The image that serves: what the profile names, or the one that is pinned for the release."""
    return service.engine_image or IMAGES.get(version)


def reasoning_parser(model: Model) -> str | None:
    """TensorRT-LLM's name of what takes a model's thoughts apart from its answer; None where it has none."""
    return _REASONING.get(model.reasoning_parser or "")


def check_tensorrt_llm(profile: Profile, service: Service, version: str, weights: Weights | None) -> Found | None:
    """Whether the machine could run the engine's container, and the engine these weights.

    Returns:
        What is wrong, and what to do instead; None where nothing is.
    """
    problems = (*_of_machine(profile, service), *_of_image(profile, service, version), *_of_weights(weights))
    return next(iter(problems), None)


def _of_machine(profile: Profile, service: Service) -> Iterator[Found]:
    runtime = profile.container_runtime
    if not profile.cards_of(service):
        yield "tensorrt_llm computes on NVIDIA's cards alone, and the service has none", "Take llama_cpp or vllm."
    if profile.nodes > 1:
        yield "tensorrt_llm spans machines by MPI, which is not set up", "Take vllm, which spans machines by itself."
    if runtime is None or runtime.gpu != "nvidia":
        yield "tensorrt_llm is a container that is given cards", "Add container_runtime: {gpu: nvidia} to the profile."
    if service.numa.policy == "interleave":
        yield "numa.policy: a container is bound to NUMA nodes, and not interleaved over them", "Set it to bind."


def _of_image(profile: Profile, service: Service, version: str) -> Iterator[Found]:
    driver = profile.nvidia_driver
    if image_of(service, version) is None:
        hint = (
            "Set stack.engine_image to NAME@sha256:DIGEST, as `docker buildx imagetools inspect NAME:TAG` tells it; or "
            f"take a release that is pinned: {', '.join(IMAGES)}."
        )
        yield f"no digest of an image of tensorrt_llm {version} is known", hint
    if driver and version.startswith("1.2.") and driver.branch < _DRIVER_OF_1_2:
        wrong = f"tensorrt_llm {version} is built with CUDA 13, and the profile has the driver {driver.branch}"
        yield wrong, f"Set nvidia_driver.branch to {_DRIVER_OF_1_2} or later."


def _of_weights(weights: Weights | None) -> Iterator[Found]:
    if weights and not _READS.fullmatch(weights.build.quantization):
        wrong = f"tensorrt_llm is not known to read weights in {weights.build.quantization}"
        yield wrong, "Take a build in BF16 or FP8, or vllm."


def check_fp8(weights: Weights | None, capability: str, card: str) -> Found | None:
    """Whether a card computes with the weights' numbers: TensorRT-LLM's support matrix has no FP8 for Ampere."""
    has = tuple(int(part) for part in capability.split("."))
    if weights and weights.build.quantization == "FP8" and has < _NATIVE_FP8:
        return (
            f"{card} does not compute in FP8, and tensorrt_llm has no other way for such weights",
            "Take a BF16 build.",
        )
    return None
