"""Engines whose unit has proven that it serves, or that are what they were before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.services import CARD_RESIDENCY, MEMORY_PLACEMENT, MisplacedEngine, ProvenUnit, ServiceState
from deploys.operations.files import PROGRAMS
from deploys.operations.install import program, program_of_modules

SERVE_UNIT = ("python3", "-I", "-B", f"{PROGRAMS}/serve-unit.d")

NODES = "/var/lib/boxwright-nodes"  # where serve-unit tells run-node, which is not root, what a head is proven to serve

_MEASURED_TOKENS = 64
_HOUR_S = 3600  # for what served before: it may be far larger than what is wanted now
_HEAD_S = 3600  # serve-unit's own: how much longer a node waits for its head, which may have to be set up first


def unit_server() -> None:
    """Put the programs on the box that let units serve, and that tell where their models lie."""
    program(CARD_RESIDENCY.rpartition("/")[2], "engine_unit/card_residency.py")
    program(MEMORY_PLACEMENT.rpartition("/")[2], "engine_unit/memory_placement.py")
    program_of_modules("serve-unit", "engine_unit/serve_unit")


def question(port: int, name: str, purpose: str, key: str | None) -> dict[str, Any]:
    """A request that shows that the model computes: one word, or one embedding.

    Args:
        port: On loopback.
        name: Of the model, as the API knows it.
        purpose: The catalogue's: chat, completion or embedding.
        key: Of the API; None where it asks for none.
    """
    path, asked = ("embeddings", {"input": "Paris"})
    if purpose != "embedding":
        path, asked = "completions", {"prompt": "The capital of France is", "max_tokens": 1}
    return {"url": f"http://127.0.0.1:{port}/v1/{path}", "body": {"model": name} | asked, "key": key}


def speed(port: int, name: str, purpose: str, key: str | None, least: float | None) -> dict[str, Any] | None:
    """A request by which the speed of one answer is measured; None where no speed is asked for, or there is none.

    Args:
        port: On loopback.
        name: Of the model, as the API knows it.
        purpose: The catalogue's. Embeddings are no answers of tokens.
        key: Of the API; None where it asks for none.
        least: Tokens per second, the prompt's time included.
    """
    if least is None or purpose == "embedding":
        return None
    # Any model goes on with it, whether it was made for chats or not, so that there is something to measure.
    asked = {"prompt": "One, two, three, four, five, six,", "max_tokens": _MEASURED_TOKENS, "temperature": 0}
    return {"url": f"http://127.0.0.1:{port}/v1/completions", "body": {"model": name} | asked, "key": key} | {
        "least": least
    }


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
        residency: `CardResidency` of `boxwright.model.residency`; None where nothing of the model belongs on cards, or
            where it is not there yet when the unit is ready.
        placement: `MemoryPlacement` of the same; None where its memory may lie on any NUMA node.
        speed: By what its speed is measured, and how fast it has to be; None: that is left to chance.
        guards: Units that start, end and go with it, with their endings.
        traces: Files that it leaves, and that go with it.
        box: Of one of several nodes: `leads`, and `settings`, a digest of what all are told; None: it serves alone.
    """

    unit: str
    serves: str
    url: str | None
    question: dict[str, Any] | None
    written: tuple[str, ...]
    files: tuple[str, ...]
    patience_s: int
    residency: Mapping[str, Any] | None = None
    placement: Mapping[str, Any] | None = None
    speed: dict[str, Any] | None = None
    guards: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    box: Mapping[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """What serve-unit is told. What there is none of is left out: a request of before it was known is the same."""
        optional = ("residency", "placement", "speed", "guards", "traces", "box")
        left_out = {"files", *(name for name in optional if not getattr(self, name))}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def request(self) -> str:
        """The same, letter for letter as serve-unit keeps it."""
        return json.dumps(self.told(), indent=1, sort_keys=True) + "\n"


@operation()
def serving_model(engine: EngineUnit, after: Sequence[Any] = ()) -> Iterator[PyinfraCommand]:
    """Have an engine's unit enabled, started from its present files, ready, and its model answering, from the cards
    and the NUMA nodes that it belongs on, fast enough.

    What does not come up so ends the run, and what was proven to serve last comes back: the same unit with the files
    that it had, or the unit of another engine behind the same door. A restart is due when one of the files is younger
    than the process, which holds, too, when an earlier run was killed between writing a file and restarting; and when
    systemd started it again while its cards did not answer.

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
    if engine.residency and not restart:
        restart = host.get_fact(MisplacedEngine, residency=json.dumps(dict(engine.residency), sort_keys=True))
    if proven and now.enabled and not restart:
        host.noop(f"{engine.unit} serves {engine.serves}")
        return
    yield StringCommand(
        *(*SERVE_UNIT, *(["--restart"] if restart else [])),
        _stdin=text,
        _timeout=2 * engine.patience_s + _HOUR_S + (2 * _HEAD_S if engine.box else 0),
    )
