"""Engines whose unit has proven that it serves, or that are what they were before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.services import ProvenUnit, ServiceState
from deploys.operations.files import PROGRAMS
from deploys.operations.install import program

_HOUR_S = 3600  # for what served before: it may be far larger than what is wanted now


def unit_server() -> None:
    """Put the program that lets units serve on the box."""
    program("serve-unit", "engine_unit/serve_unit.py")


def question(port: int, name: str, purpose: str, key: str) -> dict[str, Any]:
    """A request that shows that the model computes: one word, or one embedding.

    Args:
        port: On loopback.
        name: Of the model, as the API knows it.
        purpose: The catalogue's: chat, completion or embedding.
        key: Of the API.
    """
    path, asked = ("embeddings", {"input": "Paris"})
    if purpose != "embedding":
        path, asked = "completions", {"prompt": "The capital of France is", "max_tokens": 1}
    return {"url": f"http://127.0.0.1:{port}/v1/{path}", "body": {"model": name} | asked, "key": key}


@dataclass(frozen=True)
class EngineUnit:
    """A unit that serves a model.

    Attributes:
        unit: Name with `.service`.
        serves: The model, in words.
        url: Answers 2xx when the engine is ready; None for a unit without a door of its own.
        question: What the model must answer; None where readiness is all that can be asked.
        written: The files that the unit is made of, with its settings and keys: what comes back.
        files: What the process read besides when it started.
        patience_s: How long a start may take.
    """

    unit: str
    serves: str
    url: str | None
    question: dict[str, Any] | None
    written: tuple[str, ...]
    files: tuple[str, ...]
    patience_s: int

    def request(self) -> str:
        """What serve-unit is told, letter for letter as it keeps it."""
        told = {name: value for name, value in asdict(self).items() if name != "files"}
        return json.dumps(told, indent=1, sort_keys=True) + "\n"


@operation()
def serving_model(engine: EngineUnit, after: Sequence[Any] = ()) -> Iterator[PyinfraCommand]:
    """Have an engine's unit enabled, started from its present files, ready, and its model answering.

    What does not come up so ends the run, and what was proven to serve last comes back: the same unit with the files
    that it had, or the unit of another engine behind the same door. A restart is due when one of the files is younger
    than the process, which holds, too, when an earlier run was killed between writing a file and restarting.

    Args:
        engine: The unit.
        after: Operations that write what it reads; lets a dry run foresee the restart.
    """
    text = engine.request()
    digest = hashlib.sha256(text.encode()).hexdigest()
    now = host.get_fact(ServiceState, unit=engine.unit, url=engine.url, files=(*engine.written, *engine.files))
    proven = host.get_fact(ProvenUnit, unit=engine.unit, digest=digest, written=engine.written)
    restart = now.stale or not now.active or not now.serving or now.reload_needed
    restart = restart or any(one.changed for one in after)
    if proven and now.enabled and not restart:
        host.noop(f"{engine.unit} serves {engine.serves}")
        return
    yield StringCommand(
        *("python3 -I -B", f"{PROGRAMS}/serve-unit", *(["--restart"] if restart else [])),
        _stdin=text,
        _timeout=2 * engine.patience_s + _HOUR_S,
    )
