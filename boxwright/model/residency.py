"""What of a service's model has to be seen on the cards of a machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.base import Frozen

Bytes = Annotated[int, Field(ge=0)]


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
