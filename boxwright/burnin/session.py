"""A burn-in under way: its unit on the box at the other end of one connection, its orders, and its sensors."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boxwright.burnin import unit
from boxwright.errors import BoxwrightError
from boxwright.transport.attached import Attached
from boxwright.transport.ssh import SSH_FAILED, Endpoint, run, unreachable

_BEAT_S = 5
_ENDING_S = 40  # systemd gives the unit 20 s
_LOOK_S = 0.5


class StoppedError(BoxwrightError):
    """A burn-in ended before its time: somebody stopped it, or the box went away."""


@dataclass(frozen=True)
class Sample:
    """What the sensors said at one moment.

    Attributes:
        at: Seconds since the burn-in began.
        celsius: Degrees, by sensor.
        cards: What `nvidia-smi` was asked, by the number of a card.
    """

    at: float
    celsius: dict[str, float] = field(default_factory=dict)
    cards: dict[str, list[str]] = field(default_factory=dict)


class Session:
    """A context with a burn-in's unit on a box. When it is left, everything that runs there ends.

    The unit's standard input is this end of the connection. When the controller goes away, by a crash or a cut cable,
    it ends there, or falls silent, and every load with it; where not even that is seen, at the end of its time.

    Args:
        endpoint: The box.
        files: Where it may write, from `unit.files_of`.
        seconds: After so many it ends whatever happens.
        stop: Says why it is to end early; empty where it is not.
        cards: The command that tells cards' sensors; empty where there are none to ask.
        on_sample: Called, from a thread of the session's, once a second.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        files: Mapping[str, str],
        seconds: int,
        stop: Callable[[], str],
        *,
        cards: Sequence[str] = (),
        on_sample: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        self._endpoint = endpoint
        self._script = unit.script(files, seconds)
        self._stop = stop
        self._first = {"cards": list(cards)}
        self._on_sample = on_sample
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._over = threading.Event()
        self._began = False
        self.samples: list[Sample] = []

    def __enter__(self) -> Session:
        self._unit = Attached(self._endpoint, self._script)
        self._unit.send(json.dumps(self._first))
        for task in (self._listen, self._beat):
            threading.Thread(target=task, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._unit.end(_ENDING_S)

    def ask(self, do: str, *, patience_s: float = 60, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer.

        Raises:
            StoppedError: Somebody stopped the burn-in, or the box went away.
            UnreachableError: ssh did not get in.
            BoxwrightError: The box could not do it.
        """
        self._unit.send(json.dumps({"do": do, "path": unit.PATH, "folder": unit.FOLDER, **order}))
        until = time.monotonic() + patience_s
        while True:
            self.check()
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=_LOOK_S)
                break
            if not self._unit.running and self._answers.empty():
                raise self._why()
            if time.monotonic() > until:
                raise StoppedError(f"the box said nothing for {patience_s:.0f} s", where=self._endpoint.name)
        if "error" in answer:
            raise BoxwrightError(f"{do}: {answer['error']}", where=self._endpoint.name)
        return answer

    def check(self) -> None:
        """Go on only where nobody stopped the burn-in.

        Raises:
            StoppedError: Somebody did.
        """
        if why := self._stop():
            raise StoppedError(why, where=self._endpoint.name)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S) and self._unit.running:
            self._unit.send("")

    def _listen(self) -> None:
        for line in self._unit.lines():
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                self._began = True
                if "sample" in told:
                    self.samples.append(Sample(**told["sample"]))
                    self._on_sample(self.samples[-1])
                else:
                    self._answers.put(told["answer"])

    def _why(self) -> BoxwrightError:
        """Why the unit is not there any more."""
        code, said = self._unit.code(), self._unit.said()
        if code == SSH_FAILED and not self._began:
            return unreachable(self._endpoint, said)
        if not self._began:
            return BoxwrightError(
                f"the burn-in could not begin on the box (code {code})",
                where=self._endpoint.name,
                hint=f"Its log is on the box: journalctl --unit {unit.NAME}",
                output=said,
            )
        lost = "the connection to the box was lost" if code == SSH_FAILED else f"its unit ended with code {code}"
        return StoppedError(lost, where=self._endpoint.name, output=said)


def leftovers(endpoint: Endpoint, files: Mapping[str, str]) -> str:
    """What of a burn-in is on a box although it is over; empty where nothing is."""
    return ", ".join(run(endpoint, unit.leftovers(files), timeout_s=60).stdout.split("\n")).strip(", ")
