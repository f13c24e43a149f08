"""A card that is SIMULATED: a twin gets Boxwright's own nvidia-smi, and what it says of the programs that run there."""

from __future__ import annotations

import json

from deploy_bench import Boxes

from boxwright.lab import RunningTwin
from boxwright.places import ROOT

TOOL = ROOT / "boxwright/lab/vendors/simulated_nvidia_smi.py"
PROGRAM, HELD, NOTHING = (f"/var/lib/simulated-nvidia-smi{end}" for end in (".py", ".json", "-nothing.json"))


def card_holds(boxes: Boxes, twin: RunningTwin, command: str, mib: int | None, *, unless: str = "false") -> None:
    """Let the card hold so much of every process with this in its command line.

    Args:
        boxes: How to reach the twin.
        twin: It gets the card.
        command: A part of a command line.
        mib: Of the card's memory; None: the driver does not tell.
        unless: A command of the shell: where it succeeds, nothing is on the card.
    """
    card = {"name": "SIMULATED card", "programs": [{"command": command, "mib": mib}], "instances": []}
    boxes.on(twin, f"cat > {PROGRAM}", TOOL.read_text())
    boxes.on(twin, f"cat > {HELD}", json.dumps([card]))
    boxes.on(twin, f"cat > {NOTHING}", json.dumps([card | {"programs": []}]))
    chosen = f"cards={HELD}\n{unless} && cards={NOTHING}\n"
    run = f'SIMULATED_NVIDIA_SMI=$cards exec /usr/bin/python3 {PROGRAM} "$@"\n'
    boxes.on(twin, "cat > /usr/bin/nvidia-smi; chmod 755 /usr/bin/nvidia-smi", f"#!/bin/sh\n{chosen}{run}")


def expected(unit: str, container: str | None = None) -> dict[str, object]:
    """What must be seen of a service on the twin's card: 0.3 GB of 0.4."""
    return {
        "units": [f"{unit}.service"],
        "container": container,
        "cards": [0],
        "tool": "nvidia-smi",
        "expected_bytes": 400_000_000,
        "least_bytes": 300_000_000,
        "least_each_bytes": 200_000_000,
        "layers": None,
    }
