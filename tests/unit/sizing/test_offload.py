"""Which layers lie on cards: physical, complete, and more of them on more memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.model.architecture import Architecture
from boxwright.model.catalogues import load_models
from boxwright.sizing.offload import GIB, Offload, offload

MODELS = load_models()
CARD = 24 * GIB  # a GeForce RTX 4090


def shape(name: str) -> Architecture:
    model = MODELS.find(name)
    assert model
    return model.architecture


def size(name: str, build: str) -> int:
    model = MODELS.find(name)
    found = model.build(build) if model else None
    assert model
    assert found
    return model.weight_bytes(found) or 0


R1 = shape("deepseek-r1-0528")
SEVEN_B = shape("deepseek-r1-distill-qwen-7b")


def placed(name: str, build: str, tokens: int, *cards: int) -> Offload:
    return offload(shape(name), size(name, build), tokens, cards)


def test_without_cards_all_of_it_is_in_main_memory() -> None:
    alone = placed("deepseek-r1-distill-qwen-7b", "q4_k_m", 8192)
    assert (alone.gpu_layers, alone.card_bytes) == (0, 0)
    assert alone.host_bytes > 4_683_073_184  # the file, and its cache


def test_a_small_model_lies_on_the_card_whole() -> None:
    v100 = placed("deepseek-r1-distill-qwen-7b", "q4_k_m", 16 * 8192, 32 * GIB)
    assert (v100.gpu_layers, v100.cpu_moe_layers, v100.tensor_split) == (SEVEN_B.layers + 1, 0, ())
    # 4.7 GB of weights, and 16 requests of 8192 tokens with 28 layers of 2 x 4 x 128 numbers in 16 bits each.
    assert v100.card_bytes == pytest.approx(4.68e9 + 16 * 8192 * 28 * 1024 * 2, rel=0.08)


def test_a_model_that_is_too_large_leaves_its_first_layers_to_the_processor() -> None:
    part = placed("deepseek-r1-distill-qwen-7b", "q4_k_m", 16 * 8192, 8 * GIB)
    assert 1 < part.gpu_layers <= SEVEN_B.layers
    assert part.card_bytes < 8 * GIB
    tiny = placed("deepseek-r1-distill-qwen-7b", "q4_k_m", 8192, GIB)
    assert (tiny.gpu_layers, tiny.card_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("build", "stay"),
    [
        # On one card of 24 GB: everything but experts takes 13 to 14 GB, as people report for R1 in 4 bits.
        ("ud-q4_k_xl", 61),
        ("ud-q2_k_xl", 60),
        ("ud-iq1_s", 59),
    ],
)
def test_the_671b_model_has_its_experts_in_main_memory(build: str, stay: int) -> None:
    found = placed("deepseek-r1-0528", build, 16384, CARD)
    assert (found.gpu_layers, found.cpu_moe_layers) == (62, stay)
    assert 12 * GIB < found.card_bytes < 20 * GIB
    assert found.host_bytes > size("deepseek-r1-0528", build) * 0.85


def test_more_cards_take_more_experts_and_are_filled_alike() -> None:
    four = placed("deepseek-r1-0528", "ud-iq1_s", 16384, *[CARD] * 4)
    assert four.gpu_layers == 62
    assert 40 < four.cpu_moe_layers < 48
    assert sum(four.tensor_split) == 62
    assert four.tensor_split[0] > 40  # layers without their experts are light, and nearly all on the first
    eight = placed("deepseek-r1-0528", "ud-iq1_s", 16384, *[80 * GIB] * 4)
    assert (eight.gpu_layers, eight.cpu_moe_layers, eight.tensor_split) == (62, 0, ())


def test_where_not_even_that_fits_some_layers_are_left_to_the_processor() -> None:
    small = placed("deepseek-r1-0528", "ud-q2_k_xl", 16384, 8 * GIB)
    assert 1 < small.gpu_layers < 62
    assert small.cpu_moe_layers == 61


def test_a_smaller_cache_leaves_room() -> None:
    weights = size("deepseek-r1-distill-qwen-7b", "q4_k_m")
    full = offload(SEVEN_B, weights, 32 * 8192, (12 * GIB,))
    eight_bits = offload(SEVEN_B, weights, 32 * 8192, (12 * GIB,), 34 / 32)
    assert eight_bits.gpu_layers > full.gpu_layers


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["ud-iq1_s", "ud-q2_k_xl", "ud-q4_k_xl"]),
    st.lists(st.integers(4, 96).map(lambda gib: gib * GIB), min_size=1, max_size=8),
    st.integers(512, 65536),
)
def test_nothing_is_lost_and_no_card_overflows(build: str, cards: list[int], tokens: int) -> None:
    weights = size("deepseek-r1-0528", build)
    found = offload(R1, weights, tokens, tuple(cards))
    cache = tokens * 2 * R1.cached_per_token
    assert found.card_bytes + found.host_bytes == pytest.approx(weights + cache, rel=0.01)
    assert found.card_bytes <= sum(cards)
    assert 0 <= found.gpu_layers <= R1.layers + 1
    assert 0 <= found.cpu_moe_layers <= R1.layers
    if found.tensor_split:
        assert sum(found.tensor_split) == R1.layers + 1
        assert len(found.tensor_split) == len(cards)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
def test_a_larger_card_never_holds_less(one: int, other: int) -> None:
    small, large = (placed("deepseek-r1-0528", "ud-q2_k_xl", 8192, memory * GIB) for memory in sorted((one, other)))
    assert (small.gpu_layers, -small.cpu_moe_layers) <= (large.gpu_layers, -large.cpu_moe_layers)
    assert small.card_bytes <= large.card_bytes
