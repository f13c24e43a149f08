"""What of a service's model has to be seen on the cards of a machine, and on its NUMA nodes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.base import Frozen

Bytes = Annotated[int, Field(ge=0)]
NumaNode = Annotated[int, Field(ge=0, le=63)]


class CardResidency(Frozen):
    """What of a service's model has to be seen on the cards of a machine.

    Attributes:
        units: Of systemd, with `.service`: their processes hold the model.
        container: Docker's name of the one that holds it, whose processes are none of the unit's; None: there is none.
        cards: The service's, by their numbers in PCI order.
        tool: Whose list of processes tells it; None: none that Boxwright reads, so that nothing can be proven.
        expected_bytes: Of the model, on all of them together; None: its size is not known.
        least_bytes: What must be seen on all of them together.
        least_each_bytes: What must be seen on each; 0: one of them may be empty.
        layers: How many llama.cpp has to say that it put on cards, the output counted as one; None: any, or another
            engine.
    """

    units: tuple[str, ...]
    container: str | None
    cards: Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1)]
    tool: Literal["nvidia-smi"] | None
    expected_bytes: Bytes | None
    least_bytes: Annotated[int, Field(ge=1)]
    least_each_bytes: Bytes
    layers: Annotated[int, Field(ge=1)] | Literal["all"] | None = None


class MemoryPlacement(Frozen):
    """On which NUMA nodes of a machine a service has its memory and, where it is bound, its threads.

    Attributes:
        unit: Of systemd, with `.service`: its processes hold the model.
        container: Docker's name of the one that holds it, whose processes are none of the unit's; None: there is none.
        policy: What the unit, or the container, is told.
        nodes: The nodes of that policy.
        maps_weights: Whether the engine computes with its weights where the page cache has them; another one copies
            them, and the files that it has mapped are none of its memory.
        spread: Nodes that the engine deals its memory out over by itself; none: it promises nothing.
        processors: Lists of processors, as the kernel writes them, on whose nodes the engine keeps its memory by
            itself; none: it was not told of any.
        on_one: Whether the engine keeps to one node, whichever that is.
        simulated: Whether the nodes that the machine shows are, so that nothing can be proven.
    """

    unit: str
    container: str | None
    policy: Literal["default", "bind", "interleave"]
    nodes: tuple[NumaNode, ...]
    maps_weights: bool = False
    spread: tuple[NumaNode, ...] = ()
    processors: tuple[Annotated[str, Field(pattern=r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$")], ...] = ()
    on_one: bool = False
    simulated: bool = False

    @property
    def names_nodes(self) -> bool:
        """Whether anything at all is asked of where the memory lies."""
        return bool(self.policy != "default" or self.spread or self.processors or self.on_one)
