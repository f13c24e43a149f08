"""What a lock names besides what its profile is made of: what other verbs bring to a box, and further models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from boxwright.errors import BadInputError, did_you_mean
from boxwright.factory.card_sources import source_of
from boxwright.factory.known_files import KnownFile, card_source_file
from boxwright.factory.needs import Environment, Needs, environment, role_packages
from boxwright.factory.vendors import VendorNeeds, joined, vendor_needs
from boxwright.model.card_programs import CARD_PROGRAMS
from boxwright.model.debian_packages import CARD_COMPILERS, PYTHON_3_11, UnpackedPackages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution
from boxwright.model.variables import BurnInVariables
from boxwright.model.weights import WantedBuild, Weights
from boxwright.planning.weights import wanted_build

BURN_IN, TRY = "burnin", "models.try"
Flavour = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Extras:
    """Further things to lock, by what they are for."""

    packages: tuple[str, ...] = ()  # of the distribution
    vendors: VendorNeeds = field(default_factory=VendorNeeds)
    unpacked: tuple[UnpackedPackages, ...] = ()
    files: tuple[KnownFile, ...] = ()
    environments: tuple[Environment, ...] = ()
    weights: tuple[Weights, ...] = ()

    def beside(self, needs: Needs, fleet: Fleet) -> Needs:
        """What a fleet needs, and these."""
        directory = fleet.profile.stack.models_directory
        builds = {one.name: one for one in needs.builds}
        builds |= {one.name: wanted_build(one, directory, fleet.site) for one in self.weights}
        python = (PYTHON_3_11,) if self.environments and PYTHON_3_11 not in needs.unpacked else ()
        return replace(
            needs,
            packages=tuple(sorted({*needs.packages, *self.packages})),
            vendors=joined([needs.vendors, self.vendors]),
            unpacked=(*needs.unpacked, *self.unpacked, *python),
            files=(*needs.files, *self.files),
            environments=tuple(dict.fromkeys((*needs.environments, *self.environments))),
            builds=tuple(builds.values()),
        )


def chosen_extras(
    fleet: Fleet, names: Sequence[str], distribution: Distribution, progress: Callable[[str], None]
) -> Extras:
    """What `bundle.lock --also` names: a verb of these two, or a model as MODEL or MODEL/BUILD.

    Args:
        fleet: Whose site names what its twins are given, if they are twins.
        names: From the command line.
        distribution: Of the boxes.
        progress: Told what is fetched.

    Raises:
        BadInputError: There is no such thing, or no digests of it are pinned.
        BoxwrightError: The source of a program for cards cannot be had.
    """
    burn_in = burn_in_needs(fleet, distribution) if BURN_IN in names else Needs()
    has_cards = bool(fleet.profile.hardware.accelerators) and not fleet.site.twin
    environments = trial_environments("cuda" if has_cards else "cpu") if TRY in names else ()
    models = [name for name in names if name not in (BURN_IN, TRY)]
    return Extras(
        packages=burn_in.packages,
        vendors=burn_in.vendors,
        unpacked=burn_in.unpacked,
        files=tuple(
            card_source_file(one, source_of(one, fleet.site.mirrors.github, progress))
            for one in (CARD_PROGRAMS if CARD_COMPILERS in burn_in.unpacked else ())
        ),
        environments=environments,
        weights=tuple(_weights(fleet, name) for name in models),
    )


def trial_environments(flavour: Flavour) -> tuple[Environment, ...]:
    """The Python environments of a trial: its own, and the one that installs it."""
    return environment("python", "uv"), environment("try_model", flavour)


def trial_needs(flavour: Flavour, build: WantedBuild) -> Needs:
    """What a trial of a model takes to a box."""
    return Needs(unpacked=(PYTHON_3_11,), environments=trial_environments(flavour), builds=(build,))


def burn_in_needs(fleet: Fleet, distribution: Distribution) -> Needs:
    """What a burn-in takes to a box of a fleet, but for the source of what is built for its cards."""
    variables = card_variables(fleet)
    # The compiler of twins is simulated: nothing is built there.
    builds = variables is not None and fleet.site.twin is None
    return Needs(
        packages=role_packages("burn_in"),
        vendors=vendor_needs([variables], distribution) if variables else VendorNeeds(),
        unpacked=(CARD_COMPILERS,) if builds else (),
    )


def card_variables(fleet: Fleet) -> BurnInVariables | None:
    """What role `burn_in` is given for a fleet's cards; None where it brings nothing for them.

    That is where they are not NVIDIA's, or the profile has no toolkit that programs for them are built with.
    """
    profile, site = fleet.profile, fleet.site
    groups = profile.hardware.accelerators
    if not groups or fleet.foreign_cards or profile.cuda_toolkit is None:
        return None
    return BurnInVariables(
        cuda=profile.cuda_toolkit.version,
        # Of GeForce cards NVIDIA's diagnostics look at next to nothing.
        diagnostics=not any("GeForce" in group.name for group in groups),
        repository=site.repositories.nvidia,
        proxy=site.proxy,
    )


def _weights(fleet: Fleet, name: str) -> Weights:
    wanted, _, build_name = name.partition("/")
    model = fleet.catalogue.find(wanted)
    if model is None:
        known = (BURN_IN, TRY, *fleet.catalogue.names())
        raise BadInputError(
            f"--also: no '{wanted}'.{did_you_mean(wanted, known)}",
            hint=f"{BURN_IN}, {TRY}, or a model as MODEL/BUILD: ./invoke models lists them.",
        )
    builds = [one for one in model.builds if build_name in ("", one.name)]
    if len(builds) != 1:
        names = [one.name for one in model.builds]
        near = did_you_mean(build_name, names) if build_name else ""
        raise BadInputError(
            f"--also: which build of {model.id}?{near}", hint=f"Name it as {model.id}/…: {', '.join(names)}."
        )
    if not builds[0].pinned:
        raise BadInputError(
            f"--also: no digests of {model.id}/{builds[0].name} are pinned",
            hint=f"./invoke models.pin --model {model.id} --build {builds[0].name}",
        )
    return Weights(model, builds[0])
