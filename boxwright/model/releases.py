"""Which release of an engine a box gets where its profile names none. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.model.accelerators import Accelerator, AcceleratorCatalogue, EngineRange
from boxwright.model.engine_settings import EngineTable
from boxwright.model.profile import Profile
from boxwright.model.stack import EngineName, Service
from boxwright.model.versions import in_span


def kinds_of_cards(
    profile: Profile, services: Iterable[Service], accelerators: AcceleratorCatalogue
) -> tuple[Accelerator, ...]:
    """The kinds of cards that services use, as far as they are known."""
    every = [group.pci_id for group in profile.hardware.accelerators for _ in range(group.count)]
    used = dict.fromkeys(every[card] for service in services for card in profile.cards_of(service))
    found = (accelerators.find(pci_id) for pci_id in used)
    return tuple(known[0] for known in found if known)


def usual_release(profile: Profile, engine: EngineName, table: EngineTable, accelerators: AcceleratorCatalogue) -> str:
    """The release for the cards of all services of an engine, since a box has one: the newest that runs on each.

    Where none does it is the default, which is then refused by whoever holds it against the cards.
    """
    services = [one for one in profile.stack.services if one.engine == engine]
    cards = kinds_of_cards(profile, services, accelerators)
    ranges = [one for card in cards for one in card.engines if one.engine == engine]
    candidates = (table.default_version, *table.older_versions)
    return next((one for one in candidates if _runs(one, ranges)), table.default_version)


def _runs(version: str, ranges: list[EngineRange]) -> bool:
    return all(in_span(version, one.min, one.max) for one in ranges)
