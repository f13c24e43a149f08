"""Ways to spread a model over the cards of a box."""

from __future__ import annotations

from boxwright.model.architecture import Architecture
from boxwright.model.catalogue import Model
from boxwright.model.stack import Parallelism
from boxwright.sizing.machine import PCIE_P2P, Machine

# vLLM's manual (parallelism and scaling) prefers pipeline over tensor parallelism where cards have no NVLink: beyond
# four cards, the traffic of each layer over PCIe outweighs what a further card adds.
_GROUP_OVER_PCIE = 4


def spreads(architecture: Architecture, machine: Machine) -> list[Parallelism]:
    """Every way that is worth counting: over all cards, heads divided evenly, no layer's cards on two machines.

    Cards share layers, and what is left makes copies. Layers are taken in turn by machines, by groups of four cards
    over PCIe with peer-to-peer, and by cards that cannot share a layer evenly: elsewhere a pipeline only makes each
    answer slower.

    A mixture of experts has one copy, where cards can share it otherwise. In vLLM, copies of it are none: they divide
    the experts among all their cards, which meet in each layer (its manual, data parallel deployment). That may serve
    more requests, but its makers' recipes for these boxes have one, and a profile may say otherwise.
    """
    heads = architecture.attention.heads
    widths = [n for n in range(1, machine.cards + 1) if machine.cards % n == 0 and heads % n == 0]
    found = []
    for tensor in widths:
        for pipeline in _pipelines(tensor, widths, machine):
            data, rest = divmod(machine.all_cards, tensor * pipeline)
            if rest or pipeline > architecture.layers:
                continue
            if data % machine.nodes and pipeline % machine.nodes:
                continue
            expert = architecture.experts is not None and tensor * data > 1
            found.append(Parallelism(tensor=tensor, pipeline=pipeline, data=data, expert=expert))
    whole = [one for one in found if one.data == 1]
    return whole if architecture.experts and whole else found


def uncounted(model: Model, machine: Machine) -> Parallelism:
    """A way over all cards for a model whose memory is not counted: an embedding model has a copy on each as far as its
    heads allow, of any other all cards that can share a layer do.
    """
    best = 1 if model.purpose == "embedding" else -1
    return min(spreads(model.architecture, machine), key=lambda one: (best * one.tensor, one.pipeline))


def _pipelines(tensor: int, widths: list[int], machine: Machine) -> list[int]:
    """Numbers of groups that may take the layers in turn."""
    groups = machine.cards // tensor
    in_turn = {1}
    if machine.links == PCIE_P2P and tensor == _GROUP_OVER_PCIE:
        in_turn.add(groups)
    if machine.cards not in widths and tensor == widths[-1]:
        in_turn.add(groups)
    return sorted({nodes * here for nodes in {1, machine.nodes} for here in in_turn})
