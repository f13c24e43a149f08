"""How much of a model lies on cards, and what stays in main memory, where llama.cpp serves it. Pure.

The figures are physical and rough: layers by the shapes of their matrices, bits by the size of the file. They choose a
start that fits; what a card really has left, only the card itself tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.architecture import Architecture
from boxwright.model.catalogue import GIB
from boxwright.sizing.shape import shape_of

# A driver keeps some of a card, and memory is handed out in pieces.
_USABLE = 0.97
# Of each card: CUDA's own context and cuBLAS's workspace.
_CONTEXT_BYTES = GIB
# Tokens of a prompt that are computed at once: llama-server's default for --ubatch-size.
_UBATCH = 512
# Rows of activations that a graph holds at a time, each as wide as the model: residual, queries, feed-forward.
_WIDE_ROWS = 12
# While experts lie in main memory, a long prompt brings their matrices to the card: one is used, the next one comes.
_STAGED_MATRICES = 2
# Dynamic quants save on experts alone; attention and shared parts have about as many bits as Q6_K.
_RESIDENT_BITS = 6.5625
_HALVINGS = 40  # of the search for an even split
# Bytes of a number in the cache, by the name of its type: a block of 32 with its scale.
CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32}
CACHE_BYTES |= {"q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32}


@dataclass(frozen=True)
class Offload:
    """Which parts of a model lie where.

    Attributes:
        gpu_layers: Layers on cards, counted from the last; the output counts as one more.
        cpu_moe_layers: Of the model's layers, from the first on: so many leave their experts in main memory.
        tensor_split: Layers of each card, where cards cannot be filled alike; empty: by their free memory.
        card_bytes: Weights and cache on all cards together.
        host_bytes: Weights and cache in main memory.
    """

    gpu_layers: int
    cpu_moe_layers: int
    tensor_split: tuple[int, ...]
    card_bytes: int
    host_bytes: int


@dataclass(frozen=True)
class _Parts:
    """Bytes of a model's parts."""

    resident: tuple[float, ...]  # of each layer without its experts, with its cache
    experts: tuple[float, ...]  # of each layer
    output: float
    embedding: float  # looked up by the processor, and kept in main memory

    @property
    def layers(self) -> int:
        return len(self.resident)

    @property
    def total(self) -> float:
        return sum(self.resident) + sum(self.experts) + self.output + self.embedding


def offload(
    architecture: Architecture,
    weight_bytes: int,
    context_tokens: int,
    cards: tuple[int, ...],
    cache_bytes_per_number: float = 2.0,
) -> Offload:
    """Choose what lies on cards.

    Of a dense model, as many layers as fit, from the last on. Of a mixture of experts first everything but experts,
    which every token needs, and then the experts of as many layers as still fit.

    Args:
        architecture: The model's shape.
        weight_bytes: Of its file.
        context_tokens: Of all requests together.
        cards: Bytes of memory of each card that serves it; empty: processors alone.
        cache_bytes_per_number: Of keys and values.
    """
    parts = _parts(architecture, weight_bytes, context_tokens * cache_bytes_per_number)
    if not cards:
        return Offload(0, 0, (), 0, round(parts.total))
    room = sum(cards) * _USABLE - len(cards) * _overhead(architecture, parts)
    whole = sum(parts.resident) + sum(parts.experts) + parts.output
    if whole + _lost(parts, cards, with_experts=True) <= room:
        return Offload(parts.layers + 1, 0, (), round(whole), round(parts.embedding))
    if architecture.experts is None:
        return _layers_alone(parts, room - _lost(parts, cards, with_experts=False))
    return _experts_last(parts, cards, room)


def _parts(architecture: Architecture, weight_bytes: int, cache_bytes: float) -> _Parts:
    """Split a file's bytes among the parts of the model, and deal each layer its share of the cache."""
    shape = shape_of(architecture)
    per_resident, per_expert = densities(architecture, weight_bytes)
    cache = cache_bytes * architecture.attention.cached_per_layer
    return _Parts(
        resident=tuple(count * per_resident + cache for count in shape.resident),
        experts=tuple(count * per_expert for count in shape.experts),
        output=shape.table * per_resident,
        embedding=(shape.tables - shape.table) * per_resident,
    )


def densities(architecture: Architecture, weight_bytes: int) -> tuple[float, float]:
    """Bytes of a weight that every token needs, and of one of the routed experts (0 where there are none)."""
    shape = shape_of(architecture)
    experts, everything = sum(shape.experts), shape.parameters
    resident = everything - experts
    average = weight_bytes / everything
    if not experts:
        return average, 0.0
    per_resident = min(max(average, _RESIDENT_BITS / 8), weight_bytes / resident)
    return per_resident, (weight_bytes - per_resident * resident) / experts


def _overhead(architecture: Architecture, parts: _Parts) -> float:
    """Of each card: what is neither weights nor cache."""
    widest = max(architecture.hidden_size, architecture.feed_forward_size)
    graph = 4 * _UBATCH * (architecture.vocabulary + _WIDE_ROWS * widest)
    return _CONTEXT_BYTES + graph + _STAGED_MATRICES * max(parts.experts) / 3


def _lost(parts: _Parts, cards: tuple[int, ...], *, with_experts: bool) -> float:
    """A layer is not cut: every card but the last has up to one of room left over."""
    layers = (a + b if with_experts else a for a, b in zip(parts.resident, parts.experts, strict=True))
    return (len(cards) - 1) * max(layers)


def _layers_alone(parts: _Parts, room: float) -> Offload:
    """The last layers that fit; the experts of all stay in main memory."""
    used, layers = parts.output, 0
    while layers < parts.layers and used + parts.resident[-1 - layers] <= room:
        used += parts.resident[-1 - layers]
        layers += 1
    if used > room or layers == 0:
        return Offload(0, 0, (), 0, round(parts.total))
    behind = parts.layers if sum(parts.experts) else 0
    return Offload(layers + 1, behind, (), round(used), round(parts.total - used))


def _experts_last(parts: _Parts, cards: tuple[int, ...], room: float) -> Offload:
    """Everything but experts, and then the experts of the last layers, as far as they fit."""
    used = sum(parts.resident) + parts.output
    if used + _lost(parts, cards, with_experts=False) > room:
        return _layers_alone(parts, room - _lost(parts, cards, with_experts=False))
    room -= _lost(parts, cards, with_experts=True)
    stay = parts.layers
    while stay and used + parts.experts[stay - 1] <= room:
        stay -= 1
        used += parts.experts[stay]
    split = _split(parts, cards, stay) if len(cards) > 1 else ()
    return Offload(parts.layers + 1, stay, split, round(used), round(parts.total - used))


def _split(parts: _Parts, cards: tuple[int, ...], stay: int) -> tuple[int, ...]:
    """How many layers each card has, one after the other, so that the fullest is as empty as can be.

    Layers without their experts are light: dealt out by number, the first cards would stay empty and the last overflow.
    """
    sizes = [a + (b if at >= stay else 0) for at, (a, b) in enumerate(zip(parts.resident, parts.experts, strict=True))]
    sizes.append(parts.output)
    low, high = 0.0, sum(sizes) / min(cards)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(_dealt(sizes, cards, middle)) == len(sizes) else (middle, high)
    return _dealt(sizes, cards, high)


def _dealt(sizes: list[float], cards: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Layers of each card, where each is filled up to a share of its memory; those that find no place are left out."""
    counts, at = [], 0
    for card in cards:
        begin, left = at, card * share
        while at < len(sizes) and sizes[at] <= left:
            left -= sizes[at]
            at += 1
        counts.append(at - begin)
    return tuple(counts)
