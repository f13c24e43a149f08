"""How fast a model on cards answers: from the memory's bandwidth, the units' operations, and the links between cards.

Constants are physical or an engine's, none is of one row of a table. Everything here is a prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from boxwright.model.architecture import Architecture
from boxwright.model.stack import Parallelism
from boxwright.sizing.machine import Card, Links
from boxwright.sizing.memory import cache_per_token
from boxwright.sizing.shape import Shape, shape_of

# Of a card's stated bandwidth, what an engine gets while it writes one word after another.
BANDWIDTH_SHARE = 0.72
# Of its stated operations, what large matrices get: while a prompt is read.
FLOPS_SHARE = 0.40
# Of each step, however small the model: the processor prepares it, starts its kernels and takes its words. Qwen's
# "Speed Benchmark" (Qwen2.5 by vLLM 0.6.3, A100 80 GB, one request) leaves 2.4 ms of a step of 0.5B, and 3.2 ms of one
# of 1.5B, that reading the weights does not explain. Later engines do a part of it while the card computes.
_STEP_S = 2.5e-3
# Of each sequence in a step: choosing its word, and the engine's own bookkeeping.
_SEQUENCE_S = 0.15e-3
# Words of the question, its history included, for each word of the answer: they are read in between.
PROMPT_PER_ANSWER = 1.0
# Of the context that a request may have, how much is filled on average while it is answered.
MEAN_FILL = 0.75


@dataclass(frozen=True)
class Load:
    """What the cards are asked to do.

    Attributes:
        context_tokens: That a request may have.
        weight_bytes: Of the model, in the precision that it is served in.
        cache_number_bytes: Of an element of keys and values.
        eight_bits: Whether it is computed in 8 bits.
    """

    context_tokens: int
    weight_bytes: int
    cache_number_bytes: float = 2.0
    eight_bits: bool = False


def step_seconds(
    architecture: Architecture, spread: Parallelism, card: Card, links: Links, *, load: Load, requests: int
) -> float | None:
    """Time in which each of so many requests to one copy of the model gets a word; None where no speed is known.

    The weights are read once for all of them, each one's cache for itself. Stages of a pipeline work on different
    requests at the same time, so that a word passes them all, with a share of the requests in each. Copies of a mixture
    of experts share the experts, and have as many requests each.
    """
    if card.bandwidth is None or card.flops_16 is None:
        return None
    here = max(1, math.ceil(requests / spread.pipeline))
    cards, shape = spread.tensor * spread.pipeline, shape_of(architecture)
    read = _weights_read(architecture, shape, load.weight_bytes, here, spread.data) / cards
    filled = load.context_tokens * MEAN_FILL
    cache = here * filled * cache_per_token(architecture, spread, load.cache_number_bytes)
    flops = (card.flops_8 if load.eight_bits and card.flops_8 else card.flops_16) * FLOPS_SHARE
    operations = 2 * shape.active / cards
    decode = max((read + cache) / (card.bandwidth * BANDWIDTH_SHARE), here * operations / flops)
    prompts = here * PROMPT_PER_ANSWER * operations / flops
    together = _all_reduces(architecture, spread, links, here)
    return spread.pipeline * (_STEP_S + decode + prompts + together + here * _SEQUENCE_S)


def _weights_read(architecture: Architecture, shape: Shape, weight_bytes: int, requests: int, copies: int) -> float:
    """Bytes of weights that a copy's cards read in a step, with so many requests to each copy.

    Of a mixture of experts these are the experts that any of the requests is sent to, and of those a copy's share.
    """
    experts = architecture.experts
    touched = 1 - (1 - experts.active / experts.count) ** (requests * copies) if experts else 0.0
    read = sum(shape.resident) + shape.table + sum(shape.experts) * touched / copies
    return weight_bytes / shape.parameters * read


def _all_reduces(architecture: Architecture, spread: Parallelism, links: Links, requests: int) -> float:
    """Time in which the cards of each layer add up, twice, what each has computed.

    First those of one copy, behind the attention; behind experts those of all copies, for the requests to all of them.
    """
    sharing = spread.data if architecture.experts else 1
    row = architecture.hidden_size * 2

    def once(cards: int, rows: int) -> float:
        bus = 2 * (cards - 1) / cards
        return links.latency_s + rows * row * bus / links.bytes_per_s if cards > 1 else 0.0

    layers = math.ceil(architecture.layers / spread.pipeline)
    return layers * (once(spread.tensor, requests) + once(spread.tensor * sharing, requests * sharing))
