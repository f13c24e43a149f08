"""A service of llama.cpp on the boxes of a fleet, and what follows for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.catalogue import GIB
from boxwright.model.catalogues import load_engine
from boxwright.model.fleet import Fleet
from boxwright.model.setting import Value
from boxwright.model.stack import Service
from boxwright.model.weights import Weights, weights_of
from boxwright.serving.llama_cpp import llama_cpp_settings, own_settings, placement
from boxwright.sizing.offload import Offload


@dataclass(frozen=True)
class Instance:
    """A service of a fleet, and what follows for it."""

    fleet: Fleet
    service: Service
    weights: Weights
    own: dict[str, Value]

    @classmethod
    def of(cls, fleet: Fleet, service: Service, weights: Weights | None = None) -> Instance:
        """With the weights that the service names, or with others."""
        own = own_settings(load_engine("llama_cpp"), service)
        return cls(fleet, service, weights or weights_of(service, fleet.catalogue), own)

    @property
    def cards(self) -> tuple[int, ...]:
        """Its cards, by their numbers in PCI order."""
        return self.fleet.profile.cards_of(self.service)

    @property
    def placed(self) -> Offload | None:
        """What of the model lies on cards; None: the engine works it out, or the profile says it."""
        memory = tuple(int(gib * GIB) for gib in self.fleet.profile.device_memory_gib(self.service))
        return placement(self.service, self.weights, memory, self.own)

    def settings(self) -> dict[str, Value]:
        """By name: what follows from the box, and what the profile says instead or besides."""
        profile = self.fleet.profile
        ours = llama_cpp_settings(
            self.service,
            self.weights,
            profile.hardware,
            self.placed,
            built=profile.builds_llama_cpp,
            cards=bool(self.cards),
        )
        return ours | self.own
