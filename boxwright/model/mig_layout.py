"""Where the slices lie that a profile cuts cards into for its services, and whether they can."""

from __future__ import annotations

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue, Mig
from boxwright.model.mig import MigCard, MigPlace, laid_out
from boxwright.model.profile import Profile
from boxwright.model.stack import Service


def check_mig(profile: Profile, accelerators: AcceleratorCatalogue) -> None:
    """Refuse slices that a card does not have, or has no room for beside each other.

    Raises:
        BadInputError: One of the cards cannot be cut so.
    """
    sliced_cards(profile, accelerators)


def sliced_cards(profile: Profile, accelerators: AcceleratorCatalogue) -> tuple[MigCard, ...]:
    """Every card that is cut, and where each slice of it begins.

    Raises:
        BadInputError: A card cannot be cut, has no slices of a kind, or no room for all of them.
    """
    wanted: dict[int, list[str]] = {}
    for service in profile.stack.services:
        if service.mig_slice:
            wanted.setdefault(service.mig_slice.card, []).append(service.mig_slice.profile)
    return tuple(_cut(profile, card, wanted[card], accelerators) for card in sorted(wanted))


def mig_place(profile: Profile, service: Service) -> MigPlace | None:
    """Which slice of its card a service computes on; None of a service with whole cards, or with none.

    Slices of one kind on one card are alike: services take them in the order in which the profile has them.
    """
    own = service.mig_slice
    if own is None:
        return None
    alike = [one.unit for one in profile.stack.services if one.mig_slice == own]
    return MigPlace(card=own.card, profile=own.profile, number=alike.index(service.unit))


def _cut(profile: Profile, card: int, wanted: list[str], accelerators: AcceleratorCatalogue) -> MigCard:
    mig, name = _mig_of(profile, card, accelerators)
    where = f"profile {profile.name}, stack"
    if mig is None:
        raise BadInputError(
            f"mig_slice: {name} is not known to be cut into slices",
            where=where,
            hint="Give the service whole cards: set its accelerators in place of mig_slice.",
        )
    unknown = next((one for one in wanted if one not in mig.kinds), None)
    if unknown:
        raise BadInputError(
            f"mig_slice: {name} has no slice {unknown}.{did_you_mean(unknown, list(mig.kinds))}",
            where=where,
            hint=f"There are: {', '.join(mig.kinds)}.",
        )
    placed = laid_out(wanted, mig.kinds)
    if placed is None:
        raise BadInputError(
            f"mig_slice: {', '.join(wanted)} do not fit on card {card} beside each other, {name}",
            where=where,
            hint=f"Its memory has {mig.parts} parts; of them take {_sizes(wanted, mig)}, and not every slice may begin "
            "everywhere. Take smaller slices, or another card for one of them.",
        )
    return MigCard(card=card, slices=placed)


def _sizes(wanted: list[str], mig: Mig) -> str:
    return ", ".join(f"{one} {mig.kinds[one].size}" for one in dict.fromkeys(wanted))


def _mig_of(profile: Profile, card: int, accelerators: AcceleratorCatalogue) -> tuple[Mig | None, str]:
    group = [group for group in profile.hardware.accelerators for _ in range(group.count)][card]
    # Any board that the profile takes must be cut alike: which of them is in a machine is not known here.
    boards = [known[1] for one in group.pci_ids if (known := accelerators.find(one))]
    kinds = {board.mig for board in boards}
    return (kinds.pop() if len(kinds) == 1 else None), group.name
