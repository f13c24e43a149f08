"""How fast sizing expects a service to answer: what a measurement is held beside. Everything here is a prediction."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.model.setting import Value
from boxwright.model.stack import Service
from boxwright.model.weights import Weights
from boxwright.sizing.fit import Wish, fits
from boxwright.sizing.machine import Machine
from boxwright.sizing.service import case_of
from boxwright.sizing.speed import step_seconds


def expected_speed(
    service: Service,
    weights: Weights,
    machine: Machine,
    own: Mapping[str, Value],
    *,
    context_tokens: int,
    requests: int,
) -> float | None:
    """Tokens a second of each of so many requests at once.

    Args:
        service: What serves.
        weights: What it has loaded.
        machine: Its cards, and what is around them.
        own: Settings of the profile, by the engine's spelling.
        context_tokens: That a request fills: the question and its answer.
        requests: To all copies of the model together.

    Returns:
        None where no speed is known: of cards that nobody states one of, and, where a model lies in main memory, of
        several requests at once.
    """
    case = case_of(service, weights, machine, own)
    if case and machine.card:
        load = case.load(context_tokens)
        spread = case.fit(context_tokens).spread
        here = -(-requests // spread.data)
        seconds = step_seconds(
            weights.model.architecture, spread, machine.card, machine.links, load=load, requests=here
        )
        return 1 / seconds if seconds else None
    if requests > 1:
        return None
    ways = fits(weights.model, machine, Wish(context_tokens))
    same = (one for one in ways if one.build.name == weights.build.name and one.engine == service.engine)
    return next((one.speed_alone for one in same if one.fits), None)
