"""How many bytes of a model have to be seen on the cards that serve it. Pure.

What the driver counts of a process is its weights, its cache and what else it keeps there, so it is at least the
weights. Less than they are means that the engine computes elsewhere, however well it answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from boxwright.model.setting import Value
from boxwright.model.stack import Parallelism, Service
from boxwright.model.weights import Weights
from boxwright.sizing.machine import Machine
from boxwright.sizing.offload import Offload, densities
from boxwright.sizing.service import case_of
from boxwright.sizing.shape import shape_of

# Files hold a little that engines do not load: the layer that guesses ahead in DeepSeek's is 2 % of them.
COUNTED_SHARE = 0.8
# Where only a part lies on cards, what that is has been estimated by the shapes of matrices; and stages of a pipeline
# differ by a layer, by experts and by tables.
ESTIMATED_SHARE = 0.5


@dataclass(frozen=True)
class OnCards:
    """Bytes of a model on the cards of one machine.

    Attributes:
        expected: On all of them together; None: nobody knows how large it is there.
        least: What must be seen on all of them together.
        least_each: What must be seen on each; 0: one of them may be empty.
    """

    expected: int | None
    least: int
    least_each: int


SOMETHING = OnCards(None, 1, 0)  # of a process that computes there at all
SOMETHING_ON_EACH = OnCards(None, 1, 1)


def spread_over_cards(
    service: Service, weights: Weights, machine: Machine, own: Mapping[str, Value], spread: Parallelism
) -> OnCards:
    """Of an engine that keeps all of a model on cards: vLLM, TensorRT-LLM.

    Args:
        service: What serves.
        weights: What it has loaded.
        machine: Its cards.
        own: Settings of the profile, by the engine's spelling.
        spread: How the model lies on the cards of all nodes.
    """
    case = case_of(service, weights, machine, own)
    if case is None:
        return SOMETHING_ON_EACH
    each = case.size / (spread.tensor * spread.pipeline)
    everything = each * min(machine.cards, spread.cards)
    return OnCards(round(everything), round(everything * COUNTED_SHARE), round(each * ESTIMATED_SHARE))


def offloaded_to_cards(placed: Offload | None) -> OnCards | None:
    """Of llama.cpp; None where nothing belongs on cards.

    Args:
        placed: What lies where; None: the profile says it itself, or nobody knows how large the weights are.
    """
    if placed is None:
        return SOMETHING
    if not placed.card_bytes:
        return None
    share = ESTIMATED_SHARE if placed.host_bytes > placed.card_bytes or placed.cpu_moe_layers else COUNTED_SHARE
    return OnCards(placed.card_bytes, round(placed.card_bytes * share), 0)


def beside_experts(weights: Weights, cards: int) -> OnCards:
    """Of KTransformers, whose experts lie in main memory: everything else. The few that lie on cards are not counted.

    Args:
        weights: What its cards are given.
        cards: How many share it.
    """
    size = weights.model.weight_bytes(weights.build)
    if size is None:
        return SOMETHING_ON_EACH
    shape = shape_of(weights.model.architecture)
    resident, _ = densities(weights.model.architecture, size)
    everything = resident * (sum(shape.resident) + shape.tables)
    least = everything * ESTIMATED_SHARE
    return OnCards(round(everything), round(least), round(least / cards / 2))
