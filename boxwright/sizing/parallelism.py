"""How a model is spread over the cards of a box, where the profile leaves it open."""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.architecture import Architecture
from boxwright.model.stack import Parallelism

# Of a card's memory, what weights may take: vLLM takes 0.92 of it by default, and a quarter of that is left for the KV
# cache, activations and CUDA graphs, without which no context of use fits.
_FOR_WEIGHTS = 0.92 * 0.75
# A model that fills less than this much of a card gains more from copies than from cards that work together.
_SMALL = 0.60
# vLLM's manual (parallelism and scaling) prefers pipeline over tensor parallelism where cards have no NVLink; beyond
# four cards the traffic of each layer over PCIe outweighs what a further card adds.
_WIDEST_OVER_PCIE = 4


@dataclass(frozen=True)
class Cards:
    """The cards that a service has on each of its nodes, and how they reach each other."""

    per_node: int
    nodes: int
    memory_bytes: int  # of each
    nvlink: bool  # or another fabric of that kind
    p2p: bool  # over PCIe, where there is no fabric


def spread(architecture: Architecture, weight_bytes: int, cards: Cards) -> Parallelism:
    """The parallelism for a model on these cards.

    One card holds a small model, and every card a copy of it. Otherwise as few cards as hold the weights share each
    layer, as far as the model's heads divide among them; what is left makes copies. Where one node does not hold the
    weights, the nodes take the layers in turn. Over PCIe with peer-to-peer, groups of four share layers and the groups
    take turns; without peer-to-peer a pipeline gains nothing, as its traffic crosses main memory all the same.
    """
    whole = cards.per_node * cards.memory_bytes * _FOR_WEIGHTS
    pipeline_nodes = cards.nodes if weight_bytes > whole and cards.nodes > 1 else 1
    share = weight_bytes / pipeline_nodes
    if share <= cards.memory_bytes * _SMALL:
        tensor = 1
    else:
        fitting = [n for n in _widths(architecture, cards.per_node) if share / n <= cards.memory_bytes * _FOR_WEIGHTS]
        tensor = fitting[0] if fitting else _widths(architecture, cards.per_node)[-1]
    pipeline = pipeline_nodes
    if tensor > _WIDEST_OVER_PCIE and cards.p2p and not cards.nvlink:
        pipeline, tensor = pipeline * (tensor // _WIDEST_OVER_PCIE), _WIDEST_OVER_PCIE
    data = cards.per_node * cards.nodes // (tensor * pipeline)
    experts = architecture.experts is not None and tensor > 1
    return Parallelism(tensor=tensor, pipeline=pipeline, data=max(1, data), expert=experts)


def _widths(architecture: Architecture, most: int) -> list[int]:
    """Numbers of cards that can share a layer: powers of two that the heads divide among, up to all cards."""
    heads = architecture.attention.heads
    widths = [1 << power for power in range(most.bit_length()) if most % (1 << power) == 0]
    return [width for width in widths if heads % width == 0] or [1]
