"""Facts about containers."""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

PULLS = "/var/lib/boxwright/pulls"  # where `pull-image` notes what may not be on the disk as yet, by digest


class EngineContainers(FactBase):
    """Names of the containers that Boxwright's engines have, running or not."""

    default = list
    command = "docker ps --all --filter label=io.boxwright.engine --format '{{.Names}}' 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        """One a line."""
        return [line for line in output if line]


class ContainerImage(FactBase):
    """Whether Docker has an image, whole, by a name with a digest or by its id."""

    default = bool

    def command(self, image: str) -> str:
        """Ask Docker, where there is one."""
        name, _, digest = image.rpartition("@sha256:")
        whole = f"! test -e {shlex.quote(f'{PULLS}/{digest}')} && " if name else ""
        return f"{whole}docker image inspect --format={{{{.Id}}}} {shlex.quote(image)} 2>/dev/null || true"

    def process(self, output: list[str]) -> bool:
        """An id was told."""
        return any(line.startswith("sha256:") for line in output)
