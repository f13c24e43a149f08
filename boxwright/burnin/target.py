"""A target whose hosts get the programs of a burn-in, or lose them, and nothing of their profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from boxwright.burnin.card_builds import card_builds, targets_of
from boxwright.burnin.wish import Wish
from boxwright.errors import BoxwrightError
from boxwright.factory.card_sources import source_of
from boxwright.factory.extras import card_variables
from boxwright.model.base import AbsolutePath, HttpUrl
from boxwright.model.card_programs import CARD_PROGRAMS, CardProgramBuild
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.model.variables import BurnInVariables, Variables
from boxwright.planning.stages import Stage
from boxwright.provisioning.target import Target

INSTALL = Stage("burn_in", "ansible", "stress-ng, fio and iperf3, and what cards need, for the time of a burn-in")
_LEFT_OUT = "Or leave cards out: --only cpu,memory,disk,network."
BUILD = Stage("card_programs", "pyinfra", "gpu-burn, nvbandwidth and nccl-tests, built for the cards")


class CardProgramsVariables(Variables):
    """Deploy `card_programs`."""

    unit: ClassVar[str] = "card_programs"
    builds: tuple[CardProgramBuild, ...]
    shelf: str  # folder of the controller, where programs that were built are kept
    debian_mirror: HttpUrl
    debian_keyring: AbsolutePath  # on the box
    debian_check_valid_until: bool
    proxy: HttpUrl | None


@dataclass(frozen=True)
class ForCards:
    """What a burn-in of NVIDIA's cards brings besides.

    Attributes:
        role: What role `burn_in` is given.
        builds: What is built; nothing on twins, whose compiler is simulated and which have no card.
    """

    role: BurnInVariables
    builds: tuple[CardProgramBuild, ...]


def for_cards(
    fleet: Fleet, wish: Wish, progress: Callable[[str], None], carried: Callable[[str], Path | None] = lambda _: None
) -> ForCards | None:
    """What is brought for cards; None where none are loaded. A source that cannot be had is told where it is needed.

    Args:
        fleet: Whose boxes.
        wish: What is loaded.
        progress: Told what is fetched.
        carried: Tells the archive that a bundle has of a program's source.
    """
    role = card_variables(fleet) if "gpu" in wish.parts else None
    if role is None or role.cuda is None:
        return None
    if fleet.site.twin:
        return ForCards(role, ())
    sources: dict[str, Path] = {}
    lacking: dict[str, str] = {}
    for one in CARD_PROGRAMS:
        try:
            own = carried(one.name)
            sources[one.name] = source_of(one, fleet.site.mirrors.github, progress, carried=(own,) if own else ())
        except BoxwrightError as error:  # boxes that have the program do not need it
            lacking[one.name] = f"{error.message}\nwhere: {error.where}\n{error.hint} {_LEFT_OUT}"
    return ForCards(role, card_builds(targets_of(fleet.profile, fleet.accelerators), role.cuda, sources, lacking))


@dataclass(frozen=True)
class BurnInTarget(Target):
    """The hosts of a burn-in before it or behind it."""

    state: Literal["present", "absent"]
    cards: ForCards | None = None

    @classmethod
    def of(cls, target: Target, state: Literal["present", "absent"], cards: ForCards | None = None) -> BurnInTarget:
        """The same hosts, whose programs are wanted or not."""
        return cls(**{field.name: getattr(target, field.name) for field in fields(Target)}, state=state, cards=cards)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What the hosts go through."""
        return (INSTALL, BUILD) if self.cards and self.cards.builds else (INSTALL,)

    def variables(self, host: Host) -> tuple[tuple[Variables, ...], tuple[Variables, ...]]:  # noqa: ARG002  alike
        """What the role and the deploy are given."""
        site, mirrors = self.fleet.site, self.mirrors
        if self.cards is None:
            return (BurnInVariables(state=self.state),), ()
        role = self.cards.role.model_copy(update={"state": self.state})
        if not self.cards.builds:
            return (role,), ()
        assert mirrors.builds  # noqa: S101  `prepare` has resolved them
        assert mirrors.debian  # noqa: S101  the same
        deploy = CardProgramsVariables(
            builds=self.cards.builds,
            shelf=mirrors.builds,
            debian_mirror=mirrors.debian,
            debian_keyring=site.debian_keyring,
            debian_check_valid_until=mirrors.check_valid_until is not False,
            proxy=site.proxy,
        )
        return (role,), (deploy,)
