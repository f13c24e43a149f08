"""A unit is started from its files, and has to show that it serves: ready, answering, in its place, fast enough."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asking
import nodes
import proofs
import units

CARD_RESIDENCY = Path(__file__).resolve().parent.with_name("card-residency")
MEMORY_PLACEMENT = Path(__file__).resolve().parent.with_name("memory-placement")


def bring_up(request: dict[str, Any], *, restart: bool) -> None:
    """Start a unit from its files, and wait until it is ready and has answered.

    Raises:
        FailedError: It is not ready, or does not answer.
    """
    unit = request["unit"]
    units.systemctl("daemon-reload")
    for guard in request.get("guards", ()):
        units.systemctl("enable", "--quiet", guard)
        units.systemctl("reload-or-restart", guard)
    units.systemctl("enable", "--quiet", unit)
    units.systemctl("reset-failed", unit, check=False)  # what crashed before is not what is started now
    if restart or units.shown(unit, "ActiveState") != "active":
        units.systemctl("restart", unit, patience_s=max(request["patience_s"], units.ENDS_IN_S))
    end = time.monotonic() + request["patience_s"]  # the time that what ran before took to end is not counted
    if proofs.follows(request):
        nodes.until_the_head_serves(request)
        return
    end = _until_it_is_ready(request, end)
    question, speed = request["question"], request.get("speed")
    try:
        if question:
            asking.ask(
                question["url"],
                question["body"],
                asking.key_of(question),
                max(asking.LEAST_FOR_AN_ANSWER_S, end - time.monotonic()),
            )
        rate = asking.measured(speed) if speed else None
    except (OSError, ValueError) as error:
        raise units.FailedError(
            f"{unit} is ready, and its model does not answer: {error}", units.journal(unit)
        ) from None
    for program, told in ((CARD_RESIDENCY, request.get("residency")), (MEMORY_PLACEMENT, request.get("placement"))):
        if told:
            _in_its_place(unit, program, told)
    if speed and rate is not None:
        if rate < speed["least"]:
            wanted = f"the profile asks for {speed['least']:g} (least_tokens_per_s)"
            raise units.FailedError(f"{unit} gives {rate:.1f} tokens/s at best, and {wanted}", units.journal(unit))
        units.say(f"{unit}: {request['serves']}, {rate:.1f} tokens/s")


def _until_it_is_ready(request: dict[str, Any], end: float) -> float:
    """Wait for a unit that answers by itself; returns until when its start may take, for what it is asked then.

    Raises:
        FailedError: It is not ready in time, or keeps ending.
    """
    unit, others = request["unit"], nodes.Gathering(request) if proofs.leads(request) else None
    while not asking.is_ready(request):
        end = others.look(end) if others else end
        crashed = int(units.shown(unit, "NRestarts") or 0) >= units.CRASHES
        if crashed or time.monotonic() > end:
            why = "ends as soon as it is started" if crashed else f"was not ready within {request['patience_s']} s"
            raise units.FailedError(f"{unit} {others.why if others and not crashed else why}", units.journal(unit))
        time.sleep(0.5)
    return end


def _in_its_place(unit: str, program: Path, told: dict[str, Any]) -> None:
    """Say where the model lies, by the program that looks.

    Raises:
        FailedError: It does not lie where it belongs.
    """
    asked = [sys.executable, "-I", "-B", str(program)]
    done = subprocess.run(asked, input=json.dumps([told]), capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise units.FailedError(f"{unit}: nobody can tell where its model lies: {done.stderr.strip()}")
    (found,) = json.loads(done.stdout)
    if found["wrong"]:
        raise units.FailedError(found["wrong"], units.journal(unit))
    units.say(found["unproven"] or found["seen"])
