"""What a lock names besides what its profile is made of: what other verbs bring to a box, and further models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from boxwright.errors import BadInputError, did_you_mean
from boxwright.factory.needs import Environment, Needs, environment, role_packages
from boxwright.model.debian_packages import PYTHON_3_11
from boxwright.model.fleet import Fleet
from boxwright.model.weights import WantedBuild, Weights
from boxwright.planning.weights import wanted_build

BURN_IN, TRY = "burnin", "models.try"
Flavour = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Extras:
    """Further things to lock, by what they are for."""

    packages: tuple[str, ...] = ()  # of the distribution
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
            unpacked=(*needs.unpacked, *python),
            environments=tuple(dict.fromkeys((*needs.environments, *self.environments))),
            builds=tuple(builds.values()),
        )


def chosen_extras(fleet: Fleet, names: Sequence[str]) -> Extras:
    """What `bundle.lock --also` names: a verb of these two, or a model as MODEL or MODEL/BUILD.

    Raises:
        BadInputError: There is no such thing, or no digests of it are pinned.
    """
    packages = role_packages("burn_in") if BURN_IN in names else ()
    has_cards = bool(fleet.profile.hardware.accelerators) and not fleet.site.twin
    environments = trial_environments("cuda" if has_cards else "cpu") if TRY in names else ()
    models = [name for name in names if name not in (BURN_IN, TRY)]
    return Extras(packages, environments, tuple(_weights(fleet, name) for name in models))


def trial_environments(flavour: Flavour) -> tuple[Environment, ...]:
    """The Python environments of a trial: its own, and the one that installs it."""
    return environment("python", "uv"), environment("try_model", flavour)


def trial_needs(flavour: Flavour, build: WantedBuild) -> Needs:
    """What a trial of a model takes to a box."""
    return Needs(unpacked=(PYTHON_3_11,), environments=trial_environments(flavour), builds=(build,))


def burn_in_needs() -> Needs:
    """What a burn-in takes to a box."""
    return Needs(packages=role_packages("burn_in"))


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
