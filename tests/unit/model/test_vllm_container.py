"""What lets vLLM's container of a vendor in: its cards, one machine, Docker, and an image that the site names."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile
from boxwright.model.compatibility import check_stack
from boxwright.model.fleet import Fleet
from boxwright.model.platform import RdmaPolicy
from boxwright.model.profile import Profile
from boxwright.model.site import Artefacts, EngineImage, Host, Site
from boxwright.planning.site_images import with_images

DIGEST = f"registry.example/vllm@sha256:{'a' * 64}"


def variant(name: str, *, profile: dict[str, Any] | None = None, **stack: Any) -> Profile:
    loaded = load_profile(name)
    wanted = type(loaded.stack).model_validate(loaded.stack.model_dump(exclude_unset=True) | stack)
    return loaded.model_copy(update={"stack": wanted, **(profile or {})})


def site(*images: EngineImage) -> Site:
    hosts = (Host(name="box-1", address="192.0.2.7"),)
    return Site(name="s", hosts=hosts, artefacts=Artefacts(images=images))


def fleet(profile: Profile) -> Fleet:
    return Fleet(profile=profile, site=site(), catalogue=load_models(), accelerators=load_accelerators())


def refusal(profile: Profile) -> str:
    with pytest.raises(BadInputError) as caught:
        check_stack(profile, load_engine, load_accelerators(), load_models())
    return caught.value.message


def test_the_profiles_of_the_house_are_taken() -> None:
    for name in ("8x910b", "8xmi300x"):
        check_stack(load_profile(name), load_engine, load_accelerators(), load_models())


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (variant("8xmi300x", engine="vllm", engine_settings={}), "vllm is not known to run on Instinct MI300X"),
        (variant("8x910b", engine="vllm_rocm"), "vllm_rocm is not known to run on Ascend 910B"),
        (
            variant("8x4090", engine="vllm_rocm", engine_settings={}),
            "vllm_rocm is not known to run on GeForce",
        ),
        (variant("8xk100ai", engine="vllm_rocm"), "vllm_rocm is vLLM for AMD's cards, and the service has none"),
        (variant("8x910b", accelerators=[]), "vllm_ascend is vLLM for Huawei's cards, and the service has none"),
        (variant("8x910b", profile={"container_runtime": None}), "vllm_ascend is a container, and nothing runs one"),
        (variant("8x910b", profile={"nodes": 2, "rdma": RdmaPolicy()}), "over several machines is not set up"),
        (variant("8x910b", numa={"policy": "interleave", "nodes": (0, 1)}), "not interleaved"),
        (variant("8x910b", engine_image=DIGEST), "nobody says which release of vLLM it holds"),
        (variant("8x910b", engine_image=DIGEST, engine_version="0.19.1"), "0.23.0 is the first release that has"),
        (variant("8x910b", engine_settings={"swap-space": 4}), "does not have '--swap-space' any more"),
        (variant("8xmi300x", engine_settings={"tensor_parallel_size": 2}), "is set by Boxwright itself"),
        (variant("8x910b", engine_settings={"quantization": "fp8"}), "Ascend 910B does not compute in FP8"),
        (
            variant("8x910b", engine_settings={"kv-cache-dtype": "fp8"}),
            "Ascend 910B does not compute in FP8, and a cache",
        ),
        (variant("8x910b", engine_settings={"quantization": "awq"}), "takes no weights in awq by vllm_ascend"),
        (variant("8x910b", model="deepseek-r1-0528", build="fp8"), "Ascend 910B does not compute in FP8"),
        (
            variant("8xmi300x", engine_settings={"quantization": "experts_int8"}),
            "no weights in experts_int8 on Instinct",
        ),
        (
            variant("8xmi300x", engine_version="0.33.0", engine_settings={"quantization": "gptq_marlin"}),
            "vllm_rocm 0.33.0 takes no weights in gptq_marlin",
        ),
    ],
)
def test_what_cannot_run_is_refused(profile: Profile, message: str) -> None:
    assert message in refusal(profile)


def test_what_other_makers_cards_take_is_taken() -> None:
    for profile in (
        variant("8xmi300x", engine_settings={"kv-cache-dtype": "fp8"}),
        variant("8xmi300x", engine_settings={"quantization": "awq_marlin"}),  # vLLM takes its AWQ for AMD's cards then
        variant("8xmi300x", engine_version="0.24.0", engine_settings={"quantization": "gptq_marlin"}),
        variant("8x910b", engine_settings={"quantization": "compressed-tensors"}),
    ):
        check_stack(profile, load_engine, load_accelerators(), load_models())


def test_a_refusal_of_weights_names_what_the_card_takes() -> None:
    for profile, hint in (
        (variant("8x910b", model="deepseek-r1-0528", build="fp8"), "in bfloat16, or in INT8 (W8A8"),
        (variant("8xmi300x", engine_settings={"quantization": "experts_int8"}), "in fp8 or awq or gptq or float16."),
    ):
        with pytest.raises(BadInputError) as caught:
            check_stack(profile, load_engine, load_accelerators(), load_models())
        assert hint in caught.value.hint


def test_without_an_image_of_the_site_the_machine_alone_is_made() -> None:
    profile = load_profile("8xmi300x")
    assert with_images(profile, site()) == profile
    assert fleet(profile).without_stack == (
        "no image of vllm_rocm is known: name one of rocm/vllm, or vllm/vllm-openai-rocm under artefacts.images"
    )
    named = with_images(profile, site(EngineImage(engine="vllm_rocm", version="0.23.0", image=DIGEST)))
    assert "artefacts.images" not in fleet(named).without_stack
    trt = variant("8xl40s", engine="tensorrt_llm", engine_settings={})
    assert with_images(trt, site()).stack.engine_image is None


def test_the_release_of_the_sites_image_is_the_one_that_flags_are_held_against() -> None:
    older, newer = (
        EngineImage(engine="vllm_rocm", version=version, image=DIGEST.replace("aaa", letter * 3))
        for version, letter in (("0.9.2", "b"), ("0.23.0", "c"))
    )
    stack = with_images(load_profile("8xmi300x"), site(older, newer)).stack
    assert (stack.engine_version, stack.engine_image) == ("0.23.0", newer.image)
    chosen = with_images(variant("8xmi300x", engine_version="0.9.2"), site(older, newer)).stack
    assert chosen.engine_image == older.image
    own = with_images(variant("8xmi300x", engine_version="0.24.0", engine_image=DIGEST), site(older)).stack
    assert own.engine_image == DIGEST
    with pytest.raises(BadInputError, match=r"wants vllm_rocm 0\.24\.0, and the site has an image of 0\.9"):
        with_images(variant("8xmi300x", engine_version="0.24.0"), site(older, newer))
    with pytest.raises(ValueError, match="images: two of one engine and version"):
        Artefacts(images=(older, older))


def test_an_image_without_a_digest_is_no_image() -> None:
    with pytest.raises(ValueError, match="not an image by digest: NAME@sha256:DIGEST"):
        EngineImage(engine="vllm_ascend", version="0.23.0", image="quay.io/ascend/vllm-ascend:v0.23.0")
