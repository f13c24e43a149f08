"""The stages that a box goes through, in order. Ansible owns the machine, pyinfra owns the workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.profile import Profile

Engine = Literal["ansible", "pyinfra"]


@dataclass(frozen=True)
class Stage:
    """A role or a deploy, by its name."""

    name: str
    engine: Engine
    purpose: str


PLATFORM = (
    Stage("base", "ansible", "packages, time, logs, upgrades, accounts"),
    Stage("kernel", "ansible", "sysctls, limits, transparent huge pages"),
    Stage("nvidia_driver", "ansible", "the driver, pinned to its branch and held"),
    Stage("gateway", "ansible", "nginx: TLS, users, the paths that may be reached"),
    Stage("monitoring", "ansible", "Prometheus, node exporter, alert rules"),
    Stage("firewall", "ansible", "nftables, closed by default"),
)
WORKLOAD = (
    Stage("models", "pyinfra", "weights, verified by digest"),
    Stage("llama_cpp", "pyinfra", "llama-server on loopback"),
    Stage("open_webui", "pyinfra", "the chat page on loopback"),
)


def stages_of(profile: Profile, only: tuple[str, ...] = ()) -> tuple[Stage, ...]:
    """The stages of this profile; `only` narrows them by name.

    Raises:
        BadInputError: `only` names a stage that the profile does not have.
    """
    workload = WORKLOAD if profile.stack.deployable else ()
    skipped = {"open_webui"} if profile.stack.chat_page == "none" else set()
    skipped |= {"nvidia_driver"} if profile.nvidia_driver is None else set()
    stages = tuple(stage for stage in (*PLATFORM, *workload) if stage.name not in skipped)
    names = [stage.name for stage in stages]
    for name in only:
        if name not in names:
            raise BadInputError(
                f"no stage '{name}'.{did_you_mean(name, names)}", hint=f"There are: {', '.join(names)}."
            )
    return tuple(stage for stage in stages if not only or stage.name in only)
