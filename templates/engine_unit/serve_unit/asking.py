"""What an engine is asked on the machine itself: whether it is ready, whether its model answers, and how fast."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import units

LEAST_FOR_AN_ANSWER_S = 60
MEASURED = 3  # answers at most: the first ones of an engine that has just started may be slow, and the best one counts
FEW_TOKENS = 8  # an answer of fewer says nothing about speed


def is_ready(request: dict[str, Any]) -> bool:
    """Whether the unit runs and its door, if it has one, is open."""
    if units.shown(request["unit"], "ActiveState") != "active":
        return False
    if request["url"] is None:
        return True
    try:
        ask(request["url"], None, {}, 5)
    except OSError:
        return False
    return True


def key_of(question: dict[str, Any]) -> dict[str, str]:
    """The headers that carry a question's key; none where it has no key."""
    return {"Authorization": f"Bearer {question['key']}"} if question["key"] else {}


def measured(speed: dict[str, Any]) -> float:
    """Tokens per second of one answer, its prompt included: the best of some, or the first that is fast enough.

    Raises:
        OSError: It is not answered, or not well, or takes twice as long as it may.
        ValueError: The answer does not tell of how many tokens it is, or they are too few to tell a speed.
    """
    least, most = speed["least"], speed["body"]["max_tokens"]
    patience_s, best = max(LEAST_FOR_AN_ANSWER_S, 2 * most / least), 0.0
    for _ in range(MEASURED):
        begun = time.monotonic()
        try:
            answer = ask(speed["url"], speed["body"], key_of(speed), patience_s)
        except TimeoutError:
            raise OSError(
                f"not {most} tokens within {patience_s:.0f} s, at least {least:g} tokens/s are asked for"
            ) from None
        seconds = time.monotonic() - begun
        try:
            tokens = int(json.loads(answer)["usage"]["completion_tokens"])
        except (KeyError, TypeError):
            raise ValueError("it does not tell of how many tokens its answer is") from None
        if tokens < FEW_TOKENS:
            raise ValueError(f"an answer of {tokens} tokens is too short to tell its speed")
        best = max(best, tokens / max(seconds, 1e-9))
        if best >= least:
            break
    return best


def ask(url: str, body: Any, headers: dict[str, str], timeout: float) -> bytes:
    """Ask on the machine itself; proxies are for the outside.

    Raises:
        OSError: It is not answered, or not well.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | headers
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - loopback, by our own deploys
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        told = error.read(500).decode(errors="replace")
        raise OSError(f"{error.code} {told or error.reason}") from None
