"""The part of the pytest plugin that follows one run and tells each check: planned, started, finished."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from boxwright.verification.check import Check, CheckOutcome, Line, PlannedCheck, Severity, UnprovenError
from boxwright.verification.job import VerifyHost, VerifyJob

SEEN = pytest.StashKey[list[str]]()

_PLANNED = pytest.StashKey[PlannedCheck]()
_TROUBLE = pytest.StashKey[list[str]]()
_UNPROVEN = pytest.StashKey[UnprovenError]()
_LONGEST_EVIDENCE = 600


class Recorder:
    """Follows one pytest run against one host.

    Args:
        job: What is verified.
        host: Whose checks these are.
        stream_fd: Where checks are told as JSON lines; None tells nobody, as in a plain pytest run.
    """

    def __init__(self, job: VerifyJob, host: VerifyHost, stream_fd: int | None) -> None:
        self._job = job
        self._host = host
        self._stream = None if stream_fd is None else os.fdopen(stream_fd, "w", encoding="utf-8")
        forms = [form for spellings in host.known_secrets().values() for form in spellings]
        self._secrets = sorted(forms, key=len, reverse=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Plan the checks, before anything can deselect one."""
        items[:] = [item for item in items if _applies(item, self._host)]
        plan: dict[str, PlannedCheck] = {}
        for item in items:
            planned = _planned(item)
            if planned.id in plan:
                raise pytest.UsageError(f"two checks have the id {planned.id}")
            plan[planned.id] = item.stash[_PLANNED] = planned
        self._tell(Line(planned=tuple(plan.values())))
        for unknown in sorted(self._host.waivers.keys() - plan.keys()):
            about = _about_suite("waiver", unknown, "Every waiver is for a check that the host has")
            self._finish(about, [f"a waiver names {unknown}, and there is no such check"], [], 0)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Fail a file that could not be read, or that skipped itself."""
        if not report.passed:
            about = _about_suite("collection", Path(report.nodeid).stem, "Every file of the suite can be read")
            self._finish(about, [_reason(report)], [], 0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Tell a check's start and, after the last of its fixtures is torn down, its end."""
        trouble = item.stash.setdefault(_TROUBLE, [])
        seen = item.stash.setdefault(SEEN, [])
        planned = item.stash[_PLANNED]
        self._tell(Line(started=planned.id))
        began = time.monotonic()
        result = yield
        unproven = item.stash.get(_UNPROVEN, None)
        if not seen and not trouble and not unproven:
            trouble.append("the check recorded no evidence")
        self._finish(planned, trouble, seen, time.monotonic() - began, unproven=unproven)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note everything that is not a plain pass of one of the three phases."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, UnprovenError):
            item.stash[_UNPROVEN] = call.excinfo.value
        elif not report.passed or hasattr(report, "wasxfail"):
            item.stash[_TROUBLE].append(_reason(report))
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, Any, Any]:
        """Bound the time of a check's fixtures."""
        with _deadline(self._job.check_timeout_s):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        """Bound the time of a check."""
        with _deadline(self._job.check_timeout_s):
            return (yield)

    def pytest_unconfigure(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.close()

    def _tell(self, line: Line) -> None:
        if self._stream is not None:
            self._stream.write(line.model_dump_json(exclude_none=True) + "\n")
            self._stream.flush()

    def _finish(
        self,
        planned: PlannedCheck,
        trouble: list[str],
        seen: list[str],
        seconds: float,
        *,
        unproven: UnprovenError | None = None,
    ) -> None:
        """Tell how a check ended, with every known secret taken out of the words."""
        waiver = self._host.waivers.get(planned.id)
        if unproven and not trouble and not self._host.twin:  # a real machine has what a twin lacks
            trouble = [f"it could not be proven: {unproven}"]
            waiver = waiver or self._host.waivers.get(unproven.because)
        evidence = "; ".join(trouble or ([str(unproven)] if unproven else seen))
        outcome = CheckOutcome.FAIL if trouble else CheckOutcome.UNPROVEN if unproven else CheckOutcome.PASS
        if trouble and waiver:
            outcome, evidence = CheckOutcome.WAIVED, f"waived by {waiver} ({evidence})"
        for secret in self._secrets:
            evidence = evidence.replace(secret, "[REDACTED]")
        check = Check(
            **planned.model_dump(),
            host=self._host.name,
            outcome=outcome,
            evidence=evidence[:_LONGEST_EVIDENCE],
            seconds=round(seconds, 3),
        )
        self._tell(Line(finished=check))


def _applies(item: pytest.Item, host: VerifyHost) -> bool:
    """Whether the profile promises what the check is about: no chat page, no checks of the chat page."""
    marker = item.get_closest_marker("check")
    needs = marker.kwargs.get("needs") if marker else None
    return needs is None or bool(getattr(host, needs))


def _planned(item: pytest.Item) -> PlannedCheck:
    marker = item.get_closest_marker("check")
    if marker is None:
        raise pytest.UsageError(f"{item.nodeid} has no @check marker")
    return PlannedCheck.model_validate({key: value for key, value in marker.kwargs.items() if key != "needs"})


def _about_suite(subject: str, what: str, title: str) -> PlannedCheck:
    """A check about the suite or the job itself."""
    name = re.sub(r"[^A-Za-z0-9_/.-]", "_", what) or "suite"
    remedy = "Repair the suite or the job, then verify again."
    return PlannedCheck(id=f"{subject}.{name}", title=title, severity=Severity.CRITICAL, remedy=remedy)


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a report is not a pass, in one line."""
    if hasattr(report, "wasxfail"):
        return f"marked as an expected failure: {report.wasxfail or 'no reason given'}"
    if report.skipped:
        detail = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return f"did not run: {detail}"
    line = _words(report.longrepr)
    when = getattr(report, "when", None)
    return f"{when} of the check failed: {line}" if when in ("setup", "teardown") else line or "failed"


def _words(longrepr: Any) -> str:
    """What a failure says, without pytest's account of how it read the assertion."""
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        words = re.split(r"\nassert |\n  \+?  ?where ", crash.message, maxsplit=1)[0]
        lines = words.strip().splitlines()[:3]
    elif hasattr(longrepr, "errorstring"):  # a fixture that does not exist
        lines = longrepr.errorstring.strip().splitlines()[:1]
    else:
        lines = str(longrepr).strip().splitlines()[-1:]
    text = " ".join(line.strip().removeprefix("E ").strip() for line in lines)
    return re.sub(r"^(AssertionError|Failed|boxwright\.errors\.\w+): ", "", text)


@contextmanager
def _deadline(seconds: int) -> Generator[None]:
    """Fail the check when its time is over, whatever it waits for."""

    def expire(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature of a signal handler
        # Not an OSError: a check that treats a closed port as good news must not take this for one.
        pytest.fail(f"no result within {seconds} s", pytrace=False)

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
