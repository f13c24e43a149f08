"""Runs the acceptance suite: one pytest process a host, and one `Check` for each promise of each host."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boxwright.verification.check import Check
from boxwright.verification.host_run import HostRun
from boxwright.verification.job import VerifyJob
from boxwright.whole_files import write_whole

ACCEPTANCE_SUITE = Path(__file__).resolve().parents[2] / "tests" / "acceptance"

_AT_ONCE = 4


def run(job: VerifyJob, on_check: Callable[[Check], None], *, suite: Path = ACCEPTANCE_SUITE) -> list[Check]:
    """Verify the hosts of a job, up to four at once.

    Args:
        job: The hosts, what they promised, and their secrets.
        on_check: Told each check as it ends, one at a time, from threads of the runner.
        suite: The directory of the checks.

    Returns:
        Every check of every host, in the order of the job. A check that could not run is in it as a failure.
    """
    telling = threading.Lock()

    def tell(check: Check) -> None:
        with telling:
            on_check(check)

    runs = [HostRun(job.for_host(host), suite, tell) for host in job.hosts]
    pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="verify")
    try:
        checks = [check for found in pool.map(HostRun.checks, runs) for check in found]
    except BaseException:  # a person's Ctrl-C above all: end the processes, then let it go on
        for each in runs:
            each.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if job.report is not None:
        _write_report(job.report, checks)
    return checks


def _write_report(path: Path, checks: Sequence[Check]) -> None:
    """Write the checks as JSON, whole or not at all."""
    text = json.dumps({"checks": [check.model_dump(mode="json") for check in checks]}, indent=2)
    write_whole(path, f"{text}\n".encode())
