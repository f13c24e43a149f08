"""Slices of cards (NVIDIA's MIG): how a profile names one, and how those of one card are laid out beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from boxwright.model.base import Frozen

# `nvidia-smi mig -lgip` has more, for media engines (+me) and graphics (+gfx): they hold no more of a model.
MigProfileName = Annotated[str, Field(pattern=r"^[1-7]g\.[1-9][0-9]{0,2}gb$")]


class MigSlice(Frozen):
    """A slice of a card, with its own memory and its own share of the compute units: one device to its engine."""

    card: Annotated[int, Field(ge=0, le=63)]  # by its number in PCI order
    profile: MigProfileName  # NVIDIA's name for the kind of slice, such as 1g.10gb

    @property
    def memory_gib(self) -> float:
        """Memory of the slice by its name, in GiB. A driver shows a little less: 9.75 of a 1g.10gb of an H100."""
        return float(self.profile.partition(".")[2].removesuffix("gb"))

    @property
    def compute_slices(self) -> int:
        """Of the seven parts of a card's compute units, how many it has."""
        return int(self.profile.partition("g")[0])


class MigKind(Frozen):
    """A kind of slice that a card can be cut into, as `nvidia-smi mig -lgipp` tells it."""

    size: Annotated[int, Field(ge=1, le=8)]  # of the card's eight parts of memory
    starts: Annotated[tuple[Annotated[int, Field(ge=0, le=7)], ...], Field(min_length=1)]  # parts that it may begin at


class PlacedSlice(Frozen):
    """A slice of a card, and the part of the card's memory at which it begins."""

    profile: MigProfileName
    start: Annotated[int, Field(ge=0, le=7)]


class MigCard(Frozen):
    """A card that is cut into slices."""

    card: Annotated[int, Field(ge=0, le=63)]  # by its number in PCI order
    slices: Annotated[tuple[PlacedSlice, ...], Field(min_length=1)]


class MigPlace(Frozen):
    """Which slice a service computes on: of the slices of this kind on this card, the one of this number."""

    card: Annotated[int, Field(ge=0, le=63)]
    profile: MigProfileName
    number: Annotated[int, Field(ge=0, le=6)]


def laid_out(wanted: Iterable[str], kinds: Mapping[str, MigKind]) -> tuple[PlacedSlice, ...] | None:
    """Places for slices of one card, so that none overlaps another; None where they do not fit together.

    The driver finds places too, slice by slice, and then has none for a later one: 3g, 2g, 1g, 1g fit only when the 3g
    stands behind the others. So places are chosen here, and the driver is told them.

    Args:
        wanted: Kinds of slices, by NVIDIA's names; each is one of `kinds`.
        kinds: Those that the card can be cut into.
    """
    largest_first = sorted(wanted, key=lambda name: (-kinds[name].size, -int(name[0]), name))
    return _placed(largest_first, kinds, frozenset())


def _placed(names: list[str], kinds: Mapping[str, MigKind], taken: frozenset[int]) -> tuple[PlacedSlice, ...] | None:
    if not names:
        return ()
    name, *others = names
    for start in kinds[name].starts:
        parts = frozenset(range(start, start + kinds[name].size))
        if parts & taken:
            continue
        rest = _placed(others, kinds, taken | parts)
        if rest is not None:
            return (PlacedSlice(profile=name, start=start), *rest)
    return None
