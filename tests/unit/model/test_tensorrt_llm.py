"""What lets TensorRT-LLM's container in: cards, Docker, driver, weights, and an image whose digest is known."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.compatibility import check_stack
from boxwright.model.engine_settings import arguments
from boxwright.model.platform import ContainerRuntimePolicy
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Site
from boxwright.planning.tensorrt_llm_variables import check_tensorrt_llm_spread

TABLE = load_engine("tensorrt_llm")
DIGEST = f"registry.example/trtllm@sha256:{'a' * 64}"


def variant(name: str = "8xl40s", *, docker: str = "nvidia", driver: int | None = None, **stack: Any) -> Profile:
    profile = load_profile(name)
    wanted = profile.stack.model_dump() | {"engine": "tensorrt_llm", "engine_settings": {}} | stack
    changes: dict[str, Any] = {"stack": type(profile.stack).model_validate(wanted)}
    changes["container_runtime"] = ContainerRuntimePolicy(gpu=docker) if docker else None
    if driver and profile.nvidia_driver:
        changes["nvidia_driver"] = profile.nvidia_driver.model_copy(update={"branch": driver})
    return profile.model_copy(update=changes)


def refusal(profile: Profile) -> tuple[str, str]:
    with pytest.raises(BadInputError) as caught:
        check_stack(profile, load_engine, load_accelerators(), load_models())
    return caught.value.message, caught.value.hint


def test_data_centre_cards_with_docker_are_taken() -> None:
    for name in ("8xl40s", "2xa100"):
        check_stack(variant(name), load_engine, load_accelerators(), load_models())
    check_stack(variant(engine_version="1.1.0", engine_image=DIGEST), load_engine, load_accelerators(), load_models())


def test_an_image_without_a_digest_is_refused_with_the_remedy() -> None:
    message, hint = refusal(variant(engine_version="1.2.0"))
    assert message == "no digest of an image of tensorrt_llm 1.2.0 is known"
    assert "stack.engine_image" in hint
    assert "1.2.1" in hint
    with pytest.raises(ValueError, match="engine_image"):
        variant(engine_image="nvcr.io/nvidia/tensorrt-llm/release:1.2.1")
    with pytest.raises(ValueError, match="runs in no container"):
        variant(engine="vllm", engine_image=DIGEST)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (variant("1xv100", model="deepseek-r1-distill-qwen-7b"), "tensorrt_llm does not run on Tesla V100"),
        (variant("8x4090"), "tensorrt_llm is not known to run on GeForce RTX 4090"),
        (variant("lab", model="deepseek-r1-distill-qwen-7b"), "computes on NVIDIA's cards alone"),
        (variant("2x8xh20"), "spans machines by MPI"),
        (variant(docker=""), "is a container that is given cards"),
        (variant(docker="none"), "is a container that is given cards"),
        (variant(driver=570), "is built with CUDA 13, and the profile has the driver 570"),
        (variant("2xa100", model="deepseek-r1"), "A100 does not compute in FP8"),
        (variant(numa={"policy": "interleave", "nodes": (0, 1)}), "not interleaved"),
        (variant(engine_settings={"api_key": "x"}), "'--api_key' never was a setting"),
        (variant(engine_settings={"tensor_parallel_size": 2}), "'--tp_size' is set by Boxwright itself"),
        (variant(engine_settings={"max_btach_size": 2}), "Did you mean '--max_batch_size'?"),
        (
            variant(engine_version="1.1.0", engine_image=DIGEST, engine_settings={"enable_chunked_prefill": True}),
            "1.2.0 is the first release known to have it",
        ),
    ],
)
def test_what_cannot_run_is_refused(profile: Profile, message: str) -> None:
    assert message in refusal(profile)[0]


def test_copies_of_a_model_are_not_what_the_server_does() -> None:
    profile = variant(model="deepseek-r1-distill-qwen-7b", parallelism={"data": 8})
    site = Site(name="s", hosts=(Host(name="b", address="192.0.2.1"),))
    fleet = make_fleet(profile, site, load_models(), load_accelerators())
    with pytest.raises(BadInputError, match="fits on 1 of 8 cards, and trtllm-serve serves one copy"):
        check_tensorrt_llm_spread(fleet)


def test_a_flag_is_written_as_its_release_writes_it() -> None:
    settings = {"tp_size": 4, "free_gpu_memory_fraction": 0.8, "trust-remote-code": True}
    words = ("--tp_size", "4", "--kv_cache_free_gpu_memory_fraction", "0.8", "--trust_remote_code")
    assert arguments(TABLE, "1.2.1", settings) == words
    assert arguments(TABLE, "1.1.0", settings) == words
