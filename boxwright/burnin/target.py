"""A target whose hosts get the programs of a burn-in, or lose them, and nothing of their profile."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from boxwright.model.site import Host
from boxwright.model.variables import BurnInVariables, Variables
from boxwright.planning.stages import Stage
from boxwright.provisioning.target import Target

INSTALL = Stage("burn_in", "ansible", "stress-ng, fio and iperf3, for the time of a burn-in")


@dataclass(frozen=True)
class BurnInTarget(Target):
    """The hosts of a burn-in before it or behind it."""

    state: Literal["present", "absent"]

    @classmethod
    def of(cls, target: Target, state: Literal["present", "absent"]) -> BurnInTarget:
        """The same hosts, whose programs are wanted or not."""
        return cls(**{field.name: getattr(target, field.name) for field in fields(Target)}, state=state)

    def variables(self, host: Host) -> tuple[tuple[Variables, ...], tuple[Variables, ...]]:  # noqa: ARG002  alike
        """What the role is given."""
        return (BurnInVariables(state=self.state),), ()
