"""How the next word is best drawn, for each task. Figures are temperatures of the model itself.

DeepSeek's table is for its own API (api-docs.deepseek.com, "The Temperature Parameter"): 0.0 for code and mathematics,
1.0 for data, 1.3 for conversation and translation, 1.5 for creative writing. That API does not hand these on: the card
of DeepSeek-V3-0324 says that the model is given 0.3 times a value up to 1, and 0.7 less than one above it. A box hands
on what it is sent, so that the table has to be translated, or a chat at "1.3" would ramble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxwright.handover.facts import Offer

Task = Literal["code", "data", "chat", "creative", "every"]
_OF_DEEPSEEKS_API: dict[Task, float] = {"code": 0.0, "data": 1.0, "chat": 1.3, "creative": 1.5}
# Where the makers of a model that thinks say nothing: DeepSeek-R1's card, 0.5 to 0.7, or answers repeat without end.
_THINKING = (0.6, 0.95)


@dataclass(frozen=True, slots=True)
class Advice:
    """For one task: `top_p` is None where it need not be set."""

    task: Task
    temperature: float
    top_p: float | None = None


def advice_for(offer: Offer) -> tuple[Advice, ...]:
    """What to set for a service's model; nothing for one that makes vectors."""
    if offer.purpose == "embedding":
        return ()
    if offer.thinks:
        temperature = _THINKING[0] if offer.temperature is None else offer.temperature
        return (Advice("every", temperature, offer.top_p or _THINKING[1]),)
    return tuple(Advice(task, of_the_model(value)) for task, value in _OF_DEEPSEEKS_API.items())


def of_the_model(temperature: float) -> float:
    """The model's own temperature for one of DeepSeek's API."""
    return round(temperature * 0.3 if temperature <= 1 else temperature - 0.7, 2)
