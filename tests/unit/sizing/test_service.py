"""What sizing tells a service, and what it refuses: by profiles of the house, changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model import site
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet, profile_names
from boxwright.model.profile import Profile
from boxwright.model.stack import Parallelism, Stack
from boxwright.model.switching import MAIN, Served, serving
from boxwright.planning.sized_stack import check_disk, parallelism, size_stack
from boxwright.sizing.fit import Wish, fits
from boxwright.sizing.machine import NVLINK, Card, Host, Machine

MODELS, CARDS = load_models(), load_accelerators()
HOST = Host(memory_bytes=1 << 40, cores=64, numa_nodes=2, node_bandwidth=2e11, disk_bytes=1 << 45)
R1 = {"model": "deepseek-r1-0528", "build": "fp8", "context_tokens": 4096}


def changed(name: str, **changes: Any) -> Profile:
    """A profile with another stack; None leaves a key open."""
    profile = load_profile(name)
    said = {key: value for key, value in profile.stack if key in profile.stack.model_fields_set} | changes
    stack = Stack.model_validate({key: value for key, value in said.items() if value is not None})
    return profile.model_copy(update={"stack": stack})


def sized(name: str, **changes: Any) -> tuple[Stack, dict[str, str]]:
    profile, said = size_stack(changed(name, **changes), MODELS, CARDS, str)
    return profile.stack, {one.setting: f"{'profile' if one.fixed else 'sizing'}: {one.value}" for one in said}


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_of_the_house_can_be_served(name: str) -> None:
    size_stack(load_profile(name), MODELS, CARDS, str)


def test_what_the_profile_leaves_open_is_chosen_for_the_box() -> None:
    stack, said = sized("8x4090", parallel_requests=None, context_tokens=None)
    assert stack.parallelism == Parallelism(tensor=8)
    assert stack.context_tokens == 16384  # 115 thousand tokens of cache: seven of these, three of 32768
    assert stack.parallel_requests == 7
    assert said["parallelism"] == "sizing: tensor 8"
    assert said["context_tokens"] == "sizing: 16384"


def test_a_larger_card_gets_more_requests() -> None:
    small, large = (sized(name, parallel_requests=None)[0].parallel_requests for name in ("8x4090", "8x5090"))
    assert (small, large) == (14, 37)


def test_what_the_profile_fixes_wins() -> None:
    stack, said = sized("8x4090", parallel_requests=40, context_tokens=2048, parallelism={"tensor": 8})
    assert (stack.parallel_requests, stack.context_tokens, stack.parallelism) == (40, 2048, Parallelism(tensor=8))
    assert set(said.values()) >= {"profile: 40", "profile: 2048", "profile: tensor 8"}


def test_more_requests_than_whole_contexts_are_told() -> None:
    _, said = size_stack(changed("8x4090", parallel_requests=40), MODELS, CARDS, str)
    (row,) = [one for one in said if one.setting == "parallel_requests"]
    assert row.fixed
    assert "memory holds 14 whole contexts" in row.reason
    assert "wait in turn" in row.reason


def test_engine_settings_count() -> None:
    plain, _ = sized("8x4090", parallel_requests=None)
    in_fp8, _ = sized("8x4090", parallel_requests=None, engine_settings={"quantization": "fp8"})
    small_cache, _ = sized("8x4090", parallel_requests=None, engine_settings={"kv-cache-dtype": "fp8"})
    less, _ = sized("8x4090", parallel_requests=None, engine_settings={"gpu-memory-utilization": 0.8})
    assert in_fp8.parallel_requests > 2 * plain.parallel_requests
    assert small_cache.parallel_requests == 2 * plain.parallel_requests
    assert less.parallel_requests < plain.parallel_requests


LLAMA_70B = "deepseek-r1-distill-llama-70b"
LONG = {"context_tokens": 131072}


@pytest.mark.parametrize(
    ("name", "changes", "problem", "remedy"),
    [
        ("8x4090", R1, "does not fit on 8 x GeForce RTX 4090 by vllm: each card lacks", "deepseek-r1-0528 by"),
        ("4x4090", {"model": LLAMA_70B}, "does not fit on 4 x GeForce RTX 4090", f"What fits: {LLAMA_70B} by"),
        ("4x4090", LONG, "which is 92164 tokens, and a request has 131072", "Set context_tokens to 92164 at most"),
        ("1xv100", {"parallel_requests": 200}, "200 requests of 8192 tokens do not fit", "Set parallel_requests to 59"),
        ("2xa100", LONG | {"parallelism": {"data": 2}}, "leaves its cache", "Set context_tokens to"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(
    name: str, changes: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        size_stack(changed(name, **changes), MODELS, CARDS, "profile.yml, stack.{}".format)
    assert problem in str(caught.value)
    assert remedy in caught.value.hint
    assert caught.value.where == "profile.yml, stack.model"


def test_what_is_counted_a_little_short_is_tried_and_told() -> None:
    _, said = size_stack(changed("8x4090", **LONG), MODELS, CARDS, str)
    (row,) = [one for one in said if one.setting == "context_tokens"]
    assert "counted a little short" in row.reason


def test_a_further_service_is_named_where_it_stands() -> None:
    second = {"name": "second", "model": LLAMA_70B, "engine": "vllm", "engine_port": 8001, "accelerators": (4, 5)}
    profile = changed("8x4090", model="deepseek-r1-distill-qwen-7b", accelerators=(0,), further=(second,))
    with pytest.raises(BadInputError) as caught:
        size_stack(profile, MODELS, CARDS, "profile.yml, stack.{}".format)
    assert caught.value.where == "profile.yml, stack.further.0.model"
    assert "2 x GeForce RTX 4090" in str(caught.value)


def test_what_is_left_open_stays_so_for_another_model() -> None:
    profile = serving(load_profile("8x4090"), {MAIN: Served(model="deepseek-r1-distill-qwen-32b")})
    assert profile.stack.leaves_open("parallel_requests")
    assert not profile.stack.leaves_open("context_tokens")
    assert size_stack(profile, MODELS, CARDS, str)[0].stack.parallel_requests > 14


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "bge-m3", "context_tokens": 512}, Parallelism(data=8)),
        ({"engine_settings": {"cpu-offload-gb": 8}}, Parallelism(tensor=8)),
        ({"engine_settings": {"quantization": "bitsandbytes"}}, Parallelism(tensor=8)),
    ],
)
def test_what_is_not_counted_is_spread_over_all_cards(changes: dict[str, Any], expected: Parallelism) -> None:
    profile = changed("8x4090", **changes)
    assert size_stack(profile, MODELS, CARDS, str)[1] == ()
    fleet = make_fleet(profile, site.Site(name="s", hosts=(site.Host(name="b", address="192.0.2.1"),)), MODELS, CARDS)
    assert parallelism(fleet, profile.stack) == expected


def test_models_that_the_disk_does_not_hold_are_refused() -> None:
    profile = changed("8x4090")
    hosts = (site.Host(name="b", address="192.0.2.1"),)
    check_disk(make_fleet(profile, site.Site(name="s", hosts=hosts), MODELS, CARDS))
    hardware = profile.hardware.model_copy(update={"disk_gib": 100})
    small = make_fleet(
        profile.model_copy(update={"hardware": hardware}), site.Site(name="s", hosts=hosts), MODELS, CARDS
    )
    with pytest.raises(BadInputError, match=r"132 GiB of weights, and hardware\.disk_gib is 100"):
        check_disk(small)


def test_requests_at_once_are_those_of_all_copies() -> None:
    stack, _ = sized("2xa100", model="deepseek-r1-distill-qwen-7b", parallel_requests=10, parallelism={"data": 2})
    assert stack.requests_at_once == 20


def test_trtllm_serve_is_given_no_copies() -> None:
    stack, _ = sized("8xl40s", engine="tensorrt_llm", model="deepseek-r1-distill-qwen-7b")
    assert stack.parallelism
    assert (stack.parallelism.data, stack.parallelism.cards) == (1, 8)


def test_where_llama_cpp_lays_a_model_is_said() -> None:
    _, (row,) = size_stack(load_profile("1x4090-gguf"), MODELS, CARDS, str)
    assert row.setting == "offload"
    assert row.value.startswith("all layers, the experts of ")
    assert "in main memory" in row.reason


def test_without_cards_nothing_is_said() -> None:
    for name in ("lab", "lab-vllm", "lab-ollama", "1x4090-kt"):
        assert size_stack(load_profile(name), MODELS, CARDS, str)[1] == ()


def test_a_disk_that_is_too_small_is_told() -> None:
    model = MODELS.find("deepseek-r1")
    assert model
    large = Machine("a box", Card("a card", 192 << 30, engines=frozenset({"vllm"})), 8, 1, NVLINK, HOST)
    small = replace(large, host=replace(HOST, disk_bytes=500 << 30))
    assert any(one.fits and one.quantization == "FP8" for one in fits(model, large, Wish()))
    (refused,) = [one for one in fits(model, small, Wish()) if one.quantization == "FP8"]
    assert not refused.fits
    assert "the disk lacks" in refused.reasons[0]


def vectors(**changes: Any) -> dict[str, Any]:
    return {"name": "vectors", "model": "all-minilm-l6-v2", "engine": "vllm", "engine_port": 8001} | changes


def test_a_model_of_vectors_beside_a_chat_is_sized_by_its_own_card() -> None:
    stack, _ = sized("8x4090-rag")
    assert stack.parallelism == Parallelism(tensor=4)  # the other cards are not the chat's
    stack, _ = sized("8x4090-rag", further=[vectors(accelerators=[4])])
    assert stack.further[0].context_tokens == 512  # more it was not made for


def test_a_model_of_vectors_that_is_too_large_for_its_card_is_refused() -> None:
    """It keeps no cache, and is weighed all the same."""
    small = MODELS.find("all-minilm-l6-v2")
    assert small
    shape = small.architecture.model_copy(update={"layers": 80, "hidden_size": 8192, "feed_forward_size": 28672})
    large = small.model_copy(
        update={
            "id": "large-vectors",
            "aliases": (),
            "architecture": shape,
            "parameters": 40_000_000_000,
            "builds": (small.builds[0].model_copy(update={"files": (), "quantization": "BF16", "name": "bf16"}),),
        }
    )
    models = MODELS.model_copy(update={"models": (*MODELS.models, large)})
    profile = changed("8x4090-rag", further=[vectors(model="large-vectors", accelerators=[4])])
    with pytest.raises(BadInputError, match=r"large-vectors/bf16 does not fit on 1 x GeForce RTX 4090") as refused:
        size_stack(profile, models, CARDS, lambda key: f"box.yml: {key}")
    assert refused.value.where == "box.yml: further.0.model"
    assert "more cards" in refused.value.hint
    roomy = changed("8x4090-rag", further=[vectors(model="large-vectors", accelerators=[4, 5, 6, 7])])
    roomy, _ = size_stack(roomy, models, CARDS, str)
    fleet = make_fleet(roomy, site.Site(name="s", hosts=(site.Host(name="box-1", address="192.0.2.7"),)), models, CARDS)
    assert parallelism(fleet, roomy.stack.further[0]).tensor == 4
    assert parallelism(fleet, vectors_of_the_house()).data == 4  # a copy on each


def vectors_of_the_house() -> Any:
    return changed("8x4090-rag", further=[vectors(accelerators=[4, 5, 6, 7])]).stack.further[0]
