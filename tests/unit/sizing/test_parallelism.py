"""How models are spread over cards: the shapes that vLLM's manual and its recipes give for these boxes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.model.architecture import Architecture
from boxwright.model.catalogues import load_models
from boxwright.model.stack import Parallelism
from boxwright.sizing.parallelism import Cards, spread

GIB = 1024**3
MODELS = load_models()


def shape(model: str) -> Architecture:
    found = MODELS.find(model)
    assert found
    return found.architecture


def cards(per_node: int, gib: int, *, nodes: int = 1, nvlink: bool = False, p2p: bool = False) -> Cards:
    return Cards(per_node, nodes, gib * GIB, nvlink=nvlink, p2p=p2p or nvlink)


@pytest.mark.parametrize(
    ("model", "weights_gib", "box", "expected"),
    [
        ("deepseek-r1-distill-qwen-7b", 14.2, cards(2, 24), Parallelism(data=2)),
        ("deepseek-r1-distill-qwen-32b", 61, cards(4, 24), Parallelism(tensor=4)),
        ("deepseek-r1-distill-llama-70b", 131.4, cards(8, 24), Parallelism(tensor=8)),
        ("deepseek-r1-distill-llama-70b", 131.4, cards(8, 48, p2p=True), Parallelism(tensor=4, data=2)),
        ("deepseek-r1-distill-llama-70b", 250, cards(8, 48, p2p=True), Parallelism(tensor=4, pipeline=2)),
        ("deepseek-r1-0528", 642, cards(8, 96, nodes=2, nvlink=True), Parallelism(tensor=8, pipeline=2, expert=True)),
        ("deepseek-r1-0528", 642, cards(8, 141, nodes=2, nvlink=True), Parallelism(tensor=8, data=2, expert=True)),
        ("deepseek-r1-0528", 642, cards(8, 192, nvlink=True), Parallelism(tensor=8, expert=True)),
    ],
)
def test_known_boxes(model: str, weights_gib: float, box: Cards, expected: Parallelism) -> None:
    assert spread(shape(model), int(weights_gib * GIB), box) == expected


ANY_CARDS = st.builds(
    Cards,
    per_node=st.integers(1, 16),
    nodes=st.integers(1, 4),
    memory_bytes=st.integers(8, 192).map(lambda gib: gib * GIB),
    nvlink=st.booleans(),
    p2p=st.booleans(),
)


@given(st.sampled_from([model.id for model in MODELS.models]), st.integers(1, 1500), ANY_CARDS)
def test_heads_always_divide_and_no_card_is_counted_twice(model: str, weights_gib: int, box: Cards) -> None:
    found = spread(shape(model), weights_gib * GIB, box)
    assert shape(model).attention.heads % found.tensor == 0
    assert found.cards <= box.per_node * box.nodes
    assert found.tensor <= box.per_node
