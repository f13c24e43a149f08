"""What sizing knows of a machine: its cards with their memory and speed, the links between them, the host's memory.

Speeds of cards come from the accelerator catalogue, with its sources. What nobody states of a machine is assumed, and
stands below as a constant with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from boxwright.model.accelerators import Accelerator, AcceleratorCatalogue, Variant
from boxwright.model.catalogue import GIB
from boxwright.model.hardware import Dimms, Hardware
from boxwright.model.mig import MigSlice

# Transfers a second of a memory module, in millions, where nothing else is known: the usual ones of servers.
_MEGATRANSFERS = {"DDR4": 3200, "DDR5": 4800}
_BYTES_PER_TRANSFER = 8
# Of an NVMe disk that reads a model from end to end; slower ones are named where a load takes long.
DISK_BYTES_PER_S = 3e9


@dataclass(frozen=True)
class Links:
    """How cards of one machine add up what each has computed: an all-reduce.

    Attributes:
        bytes_per_s: Bus bandwidth of a large one, as nccl-tests count it.
        latency_s: Of a small one.
    """

    bytes_per_s: float
    latency_s: float


# Bus bandwidths that nccl-tests measure on machines of eight: the lower end of what is reported for each kind. The
# latencies are predictions: a few hops of the ring, over main memory where cards cannot reach each other.
NVLINK = Links(bytes_per_s=230e9, latency_s=20e-6)
PCIE_P2P = Links(bytes_per_s=20e9, latency_s=40e-6)
MAIN_MEMORY = Links(bytes_per_s=10e9, latency_s=60e-6)


@dataclass(frozen=True)
class Card:
    """One accelerator card.

    Attributes:
        name: As a person calls it.
        memory_bytes: All of it; what an engine may take is the engine's.
        bandwidth: Of its memory, in bytes a second; None: not known, and so is every speed.
        flops_16: Operations a second in 16 bits, dense.
        flops_8: The same in 8 bits; None: it has no such units, or nobody states them.
        compute_capability: Of NVIDIA's cards.
        engines: Engines with releases that run on it, by the accelerator catalogue.
    """

    name: str
    memory_bytes: int
    bandwidth: float | None = None
    flops_16: float | None = None
    flops_8: float | None = None
    compute_capability: float | None = None
    engines: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Host:
    """The machine around the cards.

    Attributes:
        memory_bytes: Of all NUMA nodes.
        cores: Physical ones.
        numa_nodes: Nodes that the memory is divided among.
        node_bandwidth: Of the memory of one node, in bytes a second.
        disk_bytes: Where models live.
    """

    memory_bytes: int
    cores: int
    numa_nodes: int
    node_bandwidth: float
    disk_bytes: int


@dataclass(frozen=True)
class Machine:
    """A box: one machine, or several that serve a model together."""

    name: str
    card: Card | None
    cards: int  # of each node
    nodes: int
    links: Links
    host: Host

    @property
    def all_cards(self) -> int:
        """Cards of all nodes."""
        return self.cards * self.nodes


def machine_of(name: str, hardware: Hardware, nodes: int, catalogue: AcceleratorCatalogue) -> Machine:
    """A machine as a profile describes it. Of cards of several kinds, all count as the smallest."""
    groups = hardware.accelerators
    cards = [_card(*known, group.memory_gib) for group in groups if (known := catalogue.find(group.pci_id))]
    cards += [Card(group.name, int(group.memory_gib * GIB)) for group in groups if not catalogue.find(group.pci_id)]
    smallest = min(cards, key=lambda card: card.memory_bytes) if cards else None
    ways = {_way(catalogue, group.pci_id) for group in groups}
    return Machine(
        name=name,
        card=smallest,
        cards=hardware.accelerator_count,
        nodes=nodes,
        links=_links(ways),
        host=Host(
            memory_bytes=int(hardware.memory_gib * GIB),
            cores=hardware.cpu.cores,
            numa_nodes=hardware.numa_nodes,
            node_bandwidth=_node_bandwidth(hardware),
            disk_bytes=int(hardware.disk_gib * GIB),
        ),
    )


def slice_alone(machine: Machine, mig_slice: MigSlice) -> Machine:
    """The same machine with one slice of a card in place of its cards: as a service on that slice sees it.

    Its share of the memory's bandwidth is that of the memory; of the compute units it has so many sevenths.
    """
    card = machine.card
    if card is None:
        return machine
    memory = int(mig_slice.memory_gib * GIB)
    of_memory, of_compute = min(1.0, memory / card.memory_bytes), mig_slice.compute_slices / 7
    part = replace(
        card,
        name=f"{mig_slice.profile} of a {card.name}",
        memory_bytes=memory,
        bandwidth=card.bandwidth and card.bandwidth * of_memory,
        flops_16=card.flops_16 and card.flops_16 * of_compute,
        flops_8=card.flops_8 and card.flops_8 * of_compute,
    )
    return replace(machine, card=part, cards=1)


def cards_alone(accelerator: Accelerator, variant: Variant, count: int) -> Machine:
    """A machine of which only the cards are known; the rest is assumed to be no hindrance but memory for offload."""
    memory = int(variant.memory.gb * GIB) if variant.memory else 0
    fabric = accelerator.fabric_of(variant)
    return Machine(
        name=f"{count} x {variant.name}",
        card=_card(accelerator, variant, memory / GIB),
        cards=count,
        nodes=1,
        links=_links({fabric.p2p if fabric else None}),
        host=Host(
            memory_bytes=0,
            cores=16,
            numa_nodes=1,
            node_bandwidth=_channels(Dimms(count=8, gib=32, channels_per_socket=8), 1),
            disk_bytes=1 << 50,
        ),
    )


def _card(accelerator: Accelerator, variant: Variant, memory_gib: float) -> Card:
    speed, architecture = variant.throughput, accelerator.architecture
    capability = architecture.compute_capability if architecture else None
    return Card(
        name=variant.name,
        memory_bytes=int(memory_gib * GIB),
        bandwidth=speed.bandwidth_gb_s * 1e9 if speed else None,
        flops_16=speed.fp16_tflops * 1e12 if speed else None,
        flops_8=speed.fp8_tflops * 1e12 if speed and speed.fp8_tflops else None,
        compute_capability=float(capability) if capability else None,
        engines=frozenset(one.engine for one in accelerator.engines if one.supported),
    )


def _way(catalogue: AcceleratorCatalogue, pci_id: str) -> str | None:
    known = catalogue.find(pci_id)
    fabric = known[0].fabric_of(known[1]) if known else None
    return fabric.p2p if fabric else None


def _links(ways: set[str | None]) -> Links:
    """By the slowest way between cards; an unknown one counts as slow."""
    if ways <= {"nvlink", "xgmi"}:
        return NVLINK
    return PCIE_P2P if ways <= {"nvlink", "xgmi", "pcie"} else MAIN_MEMORY


def _node_bandwidth(hardware: Hardware) -> float:
    dimms = hardware.dimms or Dimms(count=8 * hardware.cpu.sockets, gib=32, channels_per_socket=8)
    return _channels(dimms, hardware.cpu.sockets) / max(1, hardware.numa_nodes // hardware.cpu.sockets)


def _channels(dimms: Dimms, sockets: int) -> float:
    """Bandwidth of one socket's channels, in bytes a second."""
    populated = dimms.channels_populated(sockets) / sockets
    return populated * _MEGATRANSFERS[dimms.kind] * 1e6 * _BYTES_PER_TRANSFER
