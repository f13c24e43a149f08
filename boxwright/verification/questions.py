"""A question with one right answer, for a model of any size on any processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boxwright.verification.gateway import Gateway

# A small model that stumbles over one wording gets the next: the check is for an answer that makes sense at all.
_WORDINGS: tuple[tuple[dict[str, str], ...], ...] = (
    (
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ),
    ({"role": "user", "content": "What is the capital of France? Answer with one word."},),
    (
        {"role": "system", "content": "Answer in one short sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and the tokens that were counted."""

    text: str
    usage: dict[str, Any]

    @property
    def is_right(self) -> bool:
        """Whether the answer makes sense, in whatever words."""
        return "paris" in self.text.lower()


def question(model: str, wording: int = 0) -> dict[str, Any]:
    """The body of a chat request that asks for the capital of France."""
    # Enough for a model that thinks aloud first; the others stop by themselves.
    return {"model": model, "messages": list(_WORDINGS[wording]), "temperature": 0, "max_tokens": 256}


def ask(gateway: Gateway, path: str, model: str, authorization: str) -> Answer:
    """Ask for the capital of France until it is Paris, or until no wording is left.

    Raises:
        AssertionError: The request itself is refused.
    """
    for wording in range(len(_WORDINGS)):
        body = question(model, wording)
        response = gateway.request("POST", path, authorization=authorization, body=body)
        if response.status_code != 200:
            raise AssertionError(f"{path} answered {response.status_code}: {response.text[:200]}")
        document = response.json()
        answer = Answer(document["choices"][0]["message"]["content"] or "", document.get("usage") or {})
        if answer.is_right:
            break
    return answer
