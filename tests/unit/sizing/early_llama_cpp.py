"""How llama.cpp dealt a model out in early 2025, for rows of that time: whole layers, and the cache of every head."""

from __future__ import annotations

from boxwright.model.architecture import Architecture, LatentAttention

# A driver keeps some of a card; its context, the workspace and the graph of a batch take the rest that no layer gets.
_USABLE = 0.97
_FIXED_BYTES = int(2.5 * (1 << 30))


def whole_layers(
    architecture: Architecture, weight_bytes: int, card_bytes: int, cards: int, context_tokens: int
) -> int:
    """Layers that cards take with everything in them, experts and cache.

    Args:
        architecture: The model's shape.
        weight_bytes: Of its file.
        card_bytes: Of each card.
        cards: How many there are.
        context_tokens: Of all requests together.
    """
    attention = architecture.attention
    cached = attention.cached_per_layer
    if isinstance(attention, LatentAttention):
        cached = attention.heads * (attention.nope_head_dim + attention.rope_head_dim + attention.value_head_dim)
    layer = weight_bytes / architecture.layers + context_tokens * cached * 2
    room = cards * (card_bytes * _USABLE - _FIXED_BYTES)
    return max(0, min(architecture.layers, int(room / layer)))
