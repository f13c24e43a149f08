"""What the requests of a step add up to. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from boxwright.bench.job import Answered


@dataclass(frozen=True)
class Spread:
    """The 50th, 95th and 99th of a hundred, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None of nothing."""
        if not values:
            return None
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return cls(cuts[49], cuts[94], cuts[98])


@dataclass(frozen=True)
class StepFigures:
    """One step of the sweep: requests of one length, so many at a time.

    Attributes:
        requests: That were sent.
        failed: Of those, that got no whole answer; those for want of time among them.
        timed_out: Of those, for want of time.
        why: What most of those that failed say; empty where none did.
        prompt_tokens: Of a question, on average.
        tokens_per_s: Of all answers together, from the first question to the last answer.
        each_tokens_per_s: Of one answer, behind its first word: the median.
        first_s: Until the first word.
        gap_s: Between one piece of an answer and the next.
        seconds: Of a whole answer.
    """

    requests: int
    failed: int
    timed_out: int
    why: str
    prompt_tokens: float
    tokens_per_s: float
    each_tokens_per_s: float | None
    first_s: Spread | None
    gap_s: Spread | None
    seconds: Spread | None


def figures(answered: Sequence[Answered]) -> StepFigures:
    """The figures of a step; of requests that failed, their number alone counts."""
    good = [one for one in answered if not one.error]
    length = max((one.began_s + one.seconds for one in good), default=0.0) - min(
        (one.began_s for one in good), default=0.0
    )
    alone = [(one.tokens - 1) / sum(one.gaps_s) for one in good if one.tokens > 1 and sum(one.gaps_s) > 0]
    return StepFigures(
        requests=len(answered),
        failed=len(answered) - len(good),
        why=next((error for error, _ in Counter(one.error for one in answered if one.error).most_common(1)), ""),
        timed_out=sum(one.timed_out for one in answered),
        prompt_tokens=statistics.fmean(one.prompt_tokens for one in good) if good else 0.0,
        tokens_per_s=sum(one.tokens for one in good) / length if length else 0.0,
        each_tokens_per_s=statistics.median(alone) if alone else None,
        first_s=Spread.of([one.first_s for one in good if one.first_s is not None]),
        gap_s=Spread.of([gap for one in good for gap in one.gaps_s]),
        seconds=Spread.of([one.seconds for one in good]),
    )
