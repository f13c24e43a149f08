"""Facts about containers."""

from __future__ import annotations

import contextlib
import json
import shlex
from typing import Any

from pyinfra.api import FactBase

PULLS = "/var/lib/boxwright/pulls"  # where `pull-image` notes what may not be on the disk as yet, by digest

IMAGES = "/var/lib/boxwright/container-images"
PULLED = f"{IMAGES}/pulled"  # where `pull-image` notes the names of what it pulled, by digest
SERVED = f"{IMAGES}/served.json"  # the images that serve, and those that did before


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


class EngineImages(FactBase):
    """Images of engines: those that Boxwright `pulled`, those that are `serving`, and those that were `before`."""

    def default(self) -> dict[str, list[str]]:
        """None are known."""
        return {"pulled": [], "serving": [], "before": []}

    def command(self) -> str:
        """Ask for the note of what was served, a line of JSON, and for the names of all that was pulled."""
        return f"cat {SERVED} {PULLED}/* 2>/dev/null; true"

    def process(self, output: list[str]) -> dict[str, Any]:
        """Join both; a note that was cut short tells nothing."""
        found = self.default()
        for line in output:
            if "@sha256:" in line and not line.startswith("{"):
                found["pulled"].append(line)
                continue
            with contextlib.suppress(ValueError):
                found |= json.loads(line)
        return found
