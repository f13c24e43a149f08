"""What the load generator is told, and what it tells of each request: it runs in a process of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_serializer

from boxwright.model.base import Frozen

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class Job(Frozen):
    """Requests to one endpoint, so many at a time.

    Attributes:
        url: The base of an OpenAI-style API, ending in `/v1`.
        address: Where the name in the URL is, if no name server knows; else empty.
        authority: The file of the authority that signed its certificate; empty: one that the system knows.
        key: What is sent as bearer token.
        model: The name that a request gives for the model.
        engine_settings: Further fields of each request.
        words: Of each question, all of them drawn anew, so that no answer comes from a cache of questions.
        answer_tokens: Tokens of an answer at most.
        concurrency: Requests at a time.
        requests: Of all.
        timeout_s: For which a request may be silent.
        seed: Of what is drawn.
    """

    url: str
    address: str = ""
    authority: str = ""
    key: SecretStr
    model: str
    engine_settings: dict[str, bool | int | float | str] = {}
    words: Count
    answer_tokens: Count
    concurrency: Count
    requests: Count
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    seed: int = 0

    @field_serializer("key", when_used="json")
    def _in_clear(self, key: SecretStr) -> str:
        """For the standard input of the process that sends it."""
        return key.get_secret_value()


class Answered(Frozen):
    """One request.

    Attributes:
        began_s: Seconds into the run of the generator.
        seconds: Until its last byte.
        first_s: Until the first word of the answer; None where none came.
        gaps_s: Between one piece of the answer and the next.
        prompt_tokens: Of the question, as the engine counted them.
        tokens: Of the answer, as the engine counted them.
        error: Why it failed; empty where it did not.
        timed_out: Whether that was for want of an answer in time.
    """

    began_s: Seconds
    seconds: Seconds
    first_s: Seconds | None = None
    gaps_s: tuple[Seconds, ...] = ()
    prompt_tokens: int = 0
    tokens: int = 0
    error: str = ""
    timed_out: bool = False
