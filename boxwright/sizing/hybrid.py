"""How fast one request is answered where a model lies partly in main memory. Everything here is a prediction."""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.architecture import Architecture
from boxwright.sizing.machine import Card, Host
from boxwright.sizing.offload import Offload, densities
from boxwright.sizing.shape import shape_of
from boxwright.sizing.speed import BANDWIDTH_SHARE


@dataclass(frozen=True)
class HostEngine:
    """What an engine gets out of processors and of small kernels on cards.

    Attributes:
        bandwidth_share: Of a node's memory bandwidth, while weights are read once each.
        weights_per_core_s: Weights of four bits and more that a core unpacks and multiplies in a second.
        few_bits_per_core_s: The same of quants of one to two bits, which are looked up in tables.
        copies: Whether every NUMA node gets a copy of the experts where memory allows; without, threads of one node
            wait for the memory of another, and together they read about as fast as one node can.
        expert_layer_s: Of each layer with experts on a card: the start of its many small kernels.
    """

    bandwidth_share: float
    weights_per_core_s: float
    few_bits_per_core_s: float
    copies: bool
    expert_layer_s: float


# Four bits as measured on the lab's own cores, few bits by the row of a machine without cards in docs/sizing.md.
LLAMA_CPP = HostEngine(
    bandwidth_share=0.43, weights_per_core_s=4.0e9, few_bits_per_core_s=1.9e9, copies=False, expert_layer_s=0.7e-3
)
KTRANSFORMERS = HostEngine(
    bandwidth_share=0.43, weights_per_core_s=6.0e9, few_bits_per_core_s=1.9e9, copies=True, expert_layer_s=0.0
)
_FEW_BITS = 2.6


def hybrid_seconds(
    architecture: Architecture,
    weight_bytes: int,
    where: Offload,
    *,
    card: Card | None,
    host: Host,
    engine: HostEngine,
) -> float | None:
    """Time for a word of one answer; None where the speed of the card is not known.

    Cards and processors work in turn: a layer waits for the one before it.
    """
    layers, shape = architecture.layers, shape_of(architecture)
    per_resident, per_expert = densities(architecture, weight_bytes)
    on_cards = min(where.gpu_layers, layers)
    behind = max(where.cpu_moe_layers, layers - on_cards)  # layers, from the first on, with their experts in memory
    resident, experts = shape.resident, shape.routed
    host_weights = sum(resident[: layers - on_cards]) + sum(experts[:behind])
    host_bytes = sum(resident[: layers - on_cards]) * per_resident + sum(experts[:behind]) * per_expert
    card_bytes = sum(resident[layers - on_cards :]) * per_resident + sum(experts[behind:]) * per_expert
    if where.gpu_layers > layers:
        card_bytes += shape.table * per_resident
    else:
        host_weights, host_bytes = host_weights + shape.table, host_bytes + shape.table * per_resident
    nodes = host.numa_nodes if engine.copies and weight_bytes * host.numa_nodes < host.memory_bytes else 1
    by_memory = host_bytes / (host.node_bandwidth * nodes * engine.bandwidth_share)
    few = weight_bytes * 8 / shape.parameters < _FEW_BITS
    by_cores = host_weights / (host.cores * (engine.few_bits_per_core_s if few else engine.weights_per_core_s))
    seconds = max(by_memory, by_cores)
    if not card_bytes:
        return seconds
    if card is None or card.bandwidth is None:
        return None
    small = sum(1 for weights in experts[behind:] if weights) * engine.expert_layer_s
    return seconds + card_bytes / (card.bandwidth * BANDWIDTH_SHARE) + small
