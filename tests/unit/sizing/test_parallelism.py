"""How models are spread over cards: the shapes that vLLM's manual and its recipes give for these boxes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.model.architecture import Architecture
from boxwright.model.catalogues import load_models
from boxwright.model.stack import Parallelism
from boxwright.sizing.machine import MAIN_MEMORY, NVLINK, PCIE_P2P, Card, Host, Machine
from boxwright.sizing.parallelism import spreads

MODELS = load_models()
HOST = Host(memory_bytes=1 << 38, cores=64, numa_nodes=2, node_bandwidth=2e11, disk_bytes=1 << 45)
EIGHT = Machine("eight", Card("a card", 48 << 30), 8, 1, MAIN_MEMORY, HOST)


def shape(model: str) -> Architecture:
    found = MODELS.find(model)
    assert found
    return found.architecture


def tensor_and_pipeline(model: str, machine: Machine) -> set[tuple[int, int]]:
    return {(one.tensor, one.pipeline) for one in spreads(shape(model), machine)}


def test_a_machine_without_peer_to_peer_has_no_pipeline() -> None:
    assert tensor_and_pipeline("deepseek-r1-distill-llama-70b", EIGHT) == {(1, 1), (2, 1), (4, 1), (8, 1)}


def test_over_pcie_groups_of_four_take_turns() -> None:
    ways = tensor_and_pipeline("deepseek-r1-distill-llama-70b", replace(EIGHT, links=PCIE_P2P))
    assert (4, 2) in ways
    assert (8, 1) in ways
    assert (2, 4) not in ways


def test_cards_that_cannot_share_a_layer_take_layers_in_turn() -> None:
    # 28 heads divide among 4 cards and 7, and not among 8.
    assert (4, 2) in tensor_and_pipeline("deepseek-r1-distill-qwen-7b", EIGHT)


@pytest.mark.parametrize("nodes", [2, 3])
def test_machines_take_layers_in_turn_or_have_whole_copies(nodes: int) -> None:
    ways = spreads(shape("deepseek-r1-distill-llama-70b"), replace(EIGHT, nodes=nodes, links=NVLINK))
    assert Parallelism(tensor=8, pipeline=nodes) in ways
    assert Parallelism(tensor=8, data=nodes) in ways
    assert all(one.tensor <= 8 for one in ways)


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_a_mixture_of_experts_has_one_copy_because_vllm_has_copies_share_the_experts(nodes: int) -> None:
    ways = spreads(shape("deepseek-r1-0528"), replace(EIGHT, nodes=nodes, links=NVLINK))
    assert Parallelism(tensor=8, pipeline=nodes, expert=True) in ways
    assert all(one.data == 1 for one in ways)


ANY_MACHINE = st.builds(
    replace,
    st.just(EIGHT),
    cards=st.integers(1, 16),
    nodes=st.integers(1, 4),
    links=st.sampled_from([NVLINK, PCIE_P2P, MAIN_MEMORY]),
)


@given(st.sampled_from([model.id for model in MODELS.models]), ANY_MACHINE)
def test_heads_always_divide_and_every_card_works_once(model: str, machine: Machine) -> None:
    ways = spreads(shape(model), machine)
    assert ways
    for found in ways:
        assert shape(model).attention.heads % found.tensor == 0
        assert found.cards == machine.all_cards
        assert found.tensor <= machine.cards
        assert found.pipeline <= shape(model).layers
