"""What a box answered, so that it is not asked again, and what to ask it next, so that it is asked once.

pyinfra asks each fact in a round trip of its own, when it prepares an operation and again when it runs it.
Here a fact is a `Question`. While a deploy is prepared, a question without an answer is noted and assumed to
have none (the fact's default); then all noted questions travel in one batch and the deploy is prepared again,
until nothing is left to ask. The answers hold until something is written to the box.

Questions of a preparation that turns out wrong are asked in vain, so facts must only read, as pyinfra asks of
them anyway, and a batched question gets a few seconds: one that needs longer (the checksum of a model) waits
until the deploy surely wants it.
"""

from __future__ import annotations

import base64
import inspect
import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from boxwright.engines.pyinfra import remote_probe
from boxwright.engines.pyinfra.session import Completed, Session

BATCH_SECONDS = 5.0  # for one question of a batch

_PROBE_COMMAND = shlex.join(["python3", "-I", "-S", "-c", inspect.getsource(remote_probe)])
_NOT_FOUND = 127

Wrap = Callable[[str], str]


@dataclass(frozen=True)
class Question:
    """A read-only command.

    `command` is all of it, as pyinfra would send it. `argv` is the part inside sudo, su or doas, and
    `privilege` names that outer part: questions of equal privilege share a batch. `wrap` puts any command
    under the same privilege. A question with `alone` set needs an input or a terminal and never joins a
    batch.
    """

    command: str
    argv: tuple[str, ...] = field(compare=False)
    privilege: str = field(compare=False)
    wrap: Wrap = field(compare=False, repr=False)
    alone: bool = False


@dataclass(frozen=True)
class PlannedOperation:
    """What the preparation learned about an operation: what it asks, and whether it is going to write."""

    op_hash: str
    writes: bool
    questions: tuple[Question, ...]


class Facts:
    """The answers of one box.

    Args:
        session: The connection to ask over.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: dict[Question, Completed] = {}
        self._too_slow: set[Question] = set()
        self._can_batch = True
        self.supposing = False  # a preparation runs on assumed answers: nothing may be done to the box
        self._unknown: dict[Question, None] = {}
        self._asked_by: dict[str, dict[Question, None]] = {}
        self._plan: list[PlannedOperation] = []
        self.live = False  # ask the box itself every time: a Python callback may be waiting for a change

    def begin(self, *, supposing: bool) -> None:
        """Start a preparation; when `supposing`, unknown questions are noted instead of asked."""
        self.supposing = supposing
        self._unknown.clear()
        self._asked_by.clear()
        self._plan.clear()

    @property
    def supposed(self) -> bool:
        """Whether this preparation rests on an assumed answer."""
        return bool(self._unknown)

    def learn(self) -> bool:
        """Ask everything that was noted; tell whether that taught anything new."""
        before = len(self._answers)
        self.ask_all(question for question in self._unknown if question not in self._too_slow)
        return len(self._answers) > before

    def end(self, writes: dict[str, bool]) -> None:
        """Close a preparation. `writes` tells of each operation, in order, whether it is going to write."""
        self.supposing = False
        self._plan = [
            PlannedOperation(op_hash, will_write, tuple(self._asked_by.get(op_hash, ())))
            for op_hash, will_write in writes.items()
        ]

    def advance(self, op_hash: str) -> None:
        """Tell that this operation starts now, so that earlier ones need no answers any more."""
        while self._plan and self._plan[0].op_hash != op_hash:
            self._plan.pop(0)

    def forget(self) -> None:
        """Drop every answer: the box was written to."""
        self._answers.clear()

    def ask(self, question: Question, op_hash: str | None) -> Completed | None:
        """Answer a question; None stands for "suppose there is nothing".

        Args:
            question: What is asked.
            op_hash: The operation that asks, if one does.
        """
        if self.live:
            return self._ask_alone(question)
        if op_hash is not None:
            self._asked_by.setdefault(op_hash, {})[question] = None
        if question in self._answers:
            return self._answers[question]
        if self.supposing:
            self._unknown[question] = None
            return None
        ahead = [later for later in self._ahead() if later != question and later not in self._answers]
        if ahead:
            self.ask_all([question, *ahead])
        if question not in self._answers:
            self._answers[question] = self._ask_alone(question)
        return self._answers[question]

    def _ahead(self) -> Iterable[Question]:
        """What will be asked before the next write, by the operations that the preparation saw."""
        for planned in self._plan:
            yield from planned.questions
            if planned.writes:
                return

    def ask_all(self, questions: Iterable[Question]) -> None:
        """Ask what has no answer yet, one round trip for each privilege; what is too slow stays
        unanswered."""
        groups: dict[str, dict[Question, None]] = {}
        for question in questions:
            if question in self._answers or question in self._too_slow:
                continue
            if question.alone or not self._can_batch:
                self._answers[question] = self._ask_alone(question)
            else:
                groups.setdefault(question.privilege, {})[question] = None
        for group in groups.values():
            self._ask_batch(list(group))

    def _ask_alone(self, question: Question) -> Completed:
        return self._session.run(question.command)

    def _ask_batch(self, questions: list[Question]) -> None:
        """Send one batch. A target without Python 3 is asked one by one from then on."""
        wrap, privileged = questions[0].wrap, bool(questions[0].privilege)
        payload = json.dumps([[question.argv, BATCH_SECONDS] for question in questions]).encode()
        completed = self._session.run(wrap(_PROBE_COMMAND), stdin=[payload])
        answers = list(_parse(completed.out))
        for answer in answers:
            question = questions[answer["number"]]
            if answer.get("timed_out"):
                self._too_slow.add(question)
            else:
                out, err = base64.b64decode(answer["out"]), base64.b64decode(answer["err"])
                self._answers[question] = Completed(rc=answer["rc"], out=out, err=err)
        if answers:
            return
        if privileged and completed.rc not in (0, _NOT_FOUND):
            # sudo or su refused ("unknown user", most of the time), as it would have for each question alone.
            self._answers.update(dict.fromkeys(questions, completed))
        else:
            self._can_batch = False
            self.ask_all(questions)


def _parse(output: bytes) -> Iterator[dict[str, Any]]:
    """The lines of the probe; anything else on its output came from the login shell's start-up files."""
    for line in output.splitlines():
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and "number" in answer:
            yield answer
