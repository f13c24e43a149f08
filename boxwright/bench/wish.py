"""What of a box is to be measured, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.profile import Profile

Route = Literal["gateway", "engine"]
_REQUESTS_FOR_EACH = 3  # of those that ask at the same time: fewer tell nothing of the slowest


@dataclass(frozen=True)
class Wish:
    """The steps of a sweep.

    Attributes:
        concurrency: Requests at a time, ascending.
        contexts: Tokens of a question and its answer, ascending.
        answer_tokens: Of each answer at most.
        routes: By which the engine is reached.
        timeout_s: For which a request may be silent.
        one_added: Whether one request alone was asked for by nobody, and is measured for the profile's floor.
    """

    concurrency: tuple[int, ...]
    contexts: tuple[int, ...]
    answer_tokens: int
    routes: tuple[Route, ...]
    timeout_s: float
    one_added: bool = False

    def requests(self, concurrency: int) -> int:
        """Of a step."""
        return max(4, concurrency * _REQUESTS_FOR_EACH)


def wish_of(profile: Profile, *, concurrency: str, context: str, answer: int, by: str, timeout: float) -> Wish:
    """The steps that a command line asks for; what it leaves out follows from the profile.

    One request alone is always among them where the profile has a floor: that is of one answer, and would else be
    judged by nothing.

    Raises:
        BadInputError: A number is none, or more than the box takes.
    """
    stack = profile.stack
    at_once = _numbers("--concurrency", concurrency) or _doubling(stack.requests_at_once)
    one_added = stack.least_tokens_per_s is not None and 1 not in at_once
    if one_added:
        at_once = (1, *at_once)
    contexts = _numbers("--context", context) or tuple(
        dict.fromkeys(max(2 * answer, stack.context_tokens // part) for part in (8, 2))
    )
    if answer < 2 or timeout <= 0:
        raise BadInputError("--answer is two tokens at least, and --timeout is above zero")
    if contexts[-1] > stack.context_tokens:
        raise BadInputError(
            f"--context: {contexts[-1]} is more than the {stack.context_tokens} tokens that a request may have"
        )
    if contexts[0] <= answer:
        raise BadInputError(f"--context: {contexts[0]} tokens leave nothing to a question beside {answer} of an answer")
    known = get_args(Route)
    if by and by not in known:
        raise BadInputError(f"--by: no '{by}'.{did_you_mean(by, known)}", hint=f"There are: {', '.join(known)}.")
    routes: tuple[Route, ...] = tuple(one for one in known if by in ("", one))
    return Wish(at_once, contexts, answer, routes, timeout, one_added)


def _doubling(most: int) -> tuple[int, ...]:
    """1, 2, 4 and so on, and the most that the engine works on at a time."""
    return tuple(sorted({most, *(1 << power for power in range(most.bit_length()))} - {0}))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        found = sorted({int(word) for word in text.split(",") if word.strip()})
    except ValueError:
        raise BadInputError(f"{option}: '{text}' is no list of numbers", hint=f"For example {option} 1,2,4.") from None
    if found and found[0] < 1:
        raise BadInputError(f"{option}: {found[0]} is less than one")
    return tuple(found)
