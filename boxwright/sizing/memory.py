"""What a model takes of each card: its weights, what the engine needs besides, and the cache for what it has read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from boxwright.model.architecture import Architecture, HeadAttention
from boxwright.model.catalogue import GIB
from boxwright.model.stack import Parallelism
from boxwright.sizing.shape import shape_of

# Tokens that vLLM computes at once at most, and so what its activations are as large as: --max-num-batched-tokens of a
# server on cards of at least this size, and of smaller ones.
BATCHED_TOKENS = 8192
# The driver's context, NCCL's buffers and CUDA graphs of a rank.
_FIXED_BYTES = int(0.6 * GIB)
# Norms, padding and what is replicated rather than divided; no card has exactly its share.
_IMBALANCE = 1.01


@dataclass(frozen=True)
class CardMemory:
    """Bytes of the fullest card.

    Attributes:
        total: The card's memory.
        usable: What the engine may take of it.
        weights: The card's share of the model.
        overhead: Activations, graphs, the driver's context.
        cache: What is left for keys and values; 0 where nothing is.
        cache_per_token: What a token of context takes there.
    """

    total: int
    usable: int
    weights: int
    overhead: int
    cache: int
    cache_per_token: float

    @property
    def fits(self) -> bool:
        """Whether the weights and what the engine needs find room."""
        return self.weights + self.overhead <= self.usable

    @property
    def tokens(self) -> int:
        """Tokens of context that the cache holds."""
        return int(self.cache / self.cache_per_token)


def card_memory(
    architecture: Architecture,
    weight_bytes: int,
    spread: Parallelism,
    card_bytes: int,
    *,
    utilisation: float,
    cache_number_bytes: float = 2.0,
    batched_tokens: int = BATCHED_TOKENS,
) -> CardMemory:
    """How the memory of the fullest card is divided.

    Args:
        architecture: The model's shape.
        weight_bytes: Of the whole model, in the precision that it is served in.
        spread: How it is spread over cards.
        card_bytes: Memory of a card.
        utilisation: Share of it that the engine may take.
        cache_number_bytes: Of a key's or value's element: 2 in 16 bits, 1 in FP8.
        batched_tokens: Tokens that the engine computes at once at most.
    """
    usable = int(card_bytes * utilisation)
    weights = _weights(architecture, weight_bytes, spread)
    overhead = _FIXED_BYTES + _activations(architecture, spread, batched_tokens)
    per_token = cache_per_token(architecture, spread, cache_number_bytes)
    return CardMemory(card_bytes, usable, weights, overhead, max(0, usable - weights - overhead), per_token)


def cache_per_token(architecture: Architecture, spread: Parallelism, number_bytes: float = 2.0) -> float:
    """Bytes that a token of context takes on each card of a copy.

    Heads of keys and values are divided among the cards that share a layer, down to one head for each; the compressed
    vector of latent attention belongs to all heads, so every card keeps it whole.
    """
    attention = architecture.attention
    if isinstance(attention, HeadAttention):
        per_layer = 2 * math.ceil(attention.kv_heads / spread.tensor) * attention.head_dim
    else:
        per_layer = attention.cached_per_layer
    return math.ceil(architecture.layers / spread.pipeline) * per_layer * number_bytes


def _weights(architecture: Architecture, weight_bytes: int, spread: Parallelism) -> int:
    """The largest stage of the pipeline: its layers, and the first or last one's table of words.

    All copies of a model share its experts.
    """
    shape = shape_of(architecture)
    per_weight = weight_bytes / shape.parameters
    sharing = spread.tensor * (spread.data if architecture.experts else 1)
    experts = sum(shape.experts) * per_weight / architecture.layers
    layer = (weight_bytes - shape.tables * per_weight) / architecture.layers - experts
    layers = math.ceil(architecture.layers / spread.pipeline)
    here = shape.table if spread.pipeline > 1 else shape.tables
    share = (layers * layer + here * per_weight) / spread.tensor + layers * experts / sharing
    return math.ceil(share * (_IMBALANCE if sharing * spread.pipeline > 1 else 1.0))


def _activations(architecture: Architecture, spread: Parallelism, tokens: int) -> int:
    """Rows that a layer holds at its widest, in 16 bits: the residual thrice, and the feed-forward part in and out."""
    experts = architecture.experts
    inner = 2 * architecture.feed_forward_size / spread.tensor
    if experts:
        inner = max(inner, experts.active * (2 * experts.feed_forward_size + architecture.hidden_size) / 2)
    return int(tokens * (3 * architecture.hidden_size + inner) * 2)
