"""What a trial does to a box before it: fetch the weights that are missing, and install what loads them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.base import AbsolutePath, HttpUrl
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.model.variables import Variables
from boxwright.model.weights import Weights, weights_of
from boxwright.planning.stages import WORKLOAD, Stage
from boxwright.planning.variables import models_variables
from boxwright.planning.weights import wanted_build
from boxwright.provisioning.target import Target
from boxwright.trying.room import check_weights

FETCH = next(stage for stage in WORKLOAD if stage.name == "models")
INSTALL = Stage("try_model", "pyinfra", "transformers and Gradio, for the time of a trial")


class TryModelVariables(Variables):
    """Deploy `try_model`."""

    unit: ClassVar[str] = "try_model"
    flavour: Literal["cuda", "cpu"]
    python_index: HttpUrl
    wheels: tuple[str, ...]  # pages, or folders of the controller, with wheels that the index does not have
    debian_mirror: HttpUrl
    debian_keyring: AbsolutePath  # on the box
    debian_check_valid_until: bool
    proxy: HttpUrl | None


@dataclass(frozen=True)
class TrialTarget(Target):
    """A target whose hosts get the weights and the packages of a trial, and nothing of their profile."""

    weights: Weights
    flavour: Literal["cuda", "cpu"]

    @classmethod
    def of(cls, target: Target, weights: Weights, flavour: Literal["cuda", "cpu"]) -> TrialTarget:
        """The target of a trial on the same hosts."""
        own = {field.name: getattr(target, field.name) for field in fields(Target)}
        return cls(**own, weights=weights, flavour=flavour)

    def variables(self, host: Host) -> tuple[tuple[Variables, ...], tuple[Variables, ...]]:
        """What the two deploys of a trial are given."""
        fleet, mirrors = self.fleet, self.mirrors
        assert mirrors.python_index  # noqa: S101  `prepare` has resolved them
        assert mirrors.debian  # noqa: S101  the same
        builds = (wanted_build(self.weights, fleet.profile.stack.models_directory, fleet.site),)
        installed = TryModelVariables(
            flavour=self.flavour,
            python_index=mirrors.python_index,
            wheels=mirrors.wheels or (),
            debian_mirror=mirrors.debian,
            debian_keyring=fleet.site.debian_keyring,
            debian_check_valid_until=mirrors.check_valid_until is not False,
            proxy=fleet.site.proxy,
        )
        return (), (models_variables(fleet, builds, self.secrets[host.name], mirrors), installed)


def one_host(fleet: Fleet, name: str) -> Fleet:
    """The fleet with the one host that is tried on.

    Args:
        fleet: A profile on a site.
        name: Of the host, or its address; empty where the site has one.

    Raises:
        BadInputError: The site has several and none of them is named, or it has none of this name.
    """
    hosts = fleet.site.hosts
    known = [host.name for host in hosts]
    if not name and len(known) > 1:
        raise BadInputError("on which host is the model tried?", hint=f"Add --host. There are: {', '.join(known)}.")
    wanted = name.rpartition("@")[2]
    chosen = next((host.name for host in hosts if wanted in ("", host.name, host.address)), None)
    if chosen is None:
        near = did_you_mean(wanted, known)
        raise BadInputError(f"--host: the site has no '{wanted}'.{near}", hint=f"There are: {', '.join(known)}.")
    return fleet.model_copy(update={"left_out": frozenset(known) - {chosen}})


def chosen_weights(fleet: Fleet, model: str, build: str) -> Weights:
    """What is tried: the named model, or else what the profile serves.

    Raises:
        BadInputError: There is no such model or build, no digests of it are pinned, or transformers does not load it.
    """
    # vLLM reads what transformers reads: safetensors first, then a GGUF.
    wanted = {"model": model or fleet.profile.stack.model, "build": build or None, "engine": "vllm"}
    if not model and not build:
        wanted["build"] = fleet.weights.build.name
    try:
        weights = weights_of(fleet.profile.stack.model_copy(update=wanted), fleet.catalogue)
    except ValueError as error:
        raise BadInputError(str(error), hint="./invoke models lists models and builds.") from None
    wrong = check_weights(weights)
    if wrong:
        others = [one.name for one in weights.model.builds if not check_weights(replace(weights, build=one))]
        hint = f"Add --build. What can be tried of it: {', '.join(others)}." if others else ""
        raise BadInputError(wrong, hint=hint or "Add --model. ./invoke models lists what there is.")
    if not weights.build.pinned:
        raise BadInputError(
            f"{weights.name} is not fetched: no digests of its files are pinned",
            hint=f"./invoke models.pin --model {weights.model.id} --build {weights.build.name}",
        )
    return weights
