"""Does the box hold what was promised: the acceptance suite, run against provisioned hosts from outside.

The checks are pytest files in `tests/acceptance/`. This package gives them a host to look at and turns what
they find into values: one `Check` for each promise and host, never one fewer.
"""

from boxwright.verification.check import Check, CheckOutcome, PlannedCheck, Severity
from boxwright.verification.job import VerifyHost, VerifyJob, VerifyService, load_job
from boxwright.verification.runner import ACCEPTANCE_SUITE, run

__all__ = [
    "ACCEPTANCE_SUITE",
    "Check",
    "CheckOutcome",
    "PlannedCheck",
    "Severity",
    "VerifyHost",
    "VerifyJob",
    "VerifyService",
    "load_job",
    "run",
]
