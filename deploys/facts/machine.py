"""Facts about the machine."""

from __future__ import annotations

from pyinfra.api import FactBase


class UsableProcessors(FactBase):
    """How many processors a program can really use here: cgroup and affinity limits count, a datasheet does not."""

    command = "nproc"

    @staticmethod
    def default() -> int:
        """A machine has at least one."""
        return 1

    def process(self, output: list[str]) -> int:
        """Read the number."""
        return int(output[0])
