"""The pytest plugin under the acceptance suite: every check is planned, timed, and told with its evidence.

A test is a check by its marker `@pytest.mark.check(id=…, title=…, severity=…, remedy=…)`. It proves something
by calling the fixture `evidence` with what it saw. Nothing passes by omission: a skip, an expected failure, a
broken fixture, a test without evidence and an unreadable file are all failed checks with a reason.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.verification.job import VerifyHost, VerifyJob, load_job
from boxwright.verification.recorder import SEEN, Recorder
from boxwright.verification.ssh import BoxShell, close_connections, write_config

Evidence = Callable[[str], None]

_JOB = pytest.StashKey[VerifyJob]()
_SHELL = pytest.StashKey[BoxShell]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say what to verify."""
    group = parser.getgroup("boxwright", "verification of a provisioned host")
    group.addoption("--boxwright-job", metavar="FILE", help="the verification job, a JSON file of mode 0600")
    group.addoption("--boxwright-checks-fd", type=int, metavar="FD", help="where checks are told as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    """Read the job and point testinfra at its host."""
    config.addinivalue_line("markers", "check(id, title, severity, remedy, needs=None): one promise of a box")
    path = config.getoption("boxwright_job", default=None)
    if path is None:
        return
    try:
        job = load_job(Path(path))
    except BadInputError as error:
        raise pytest.UsageError(str(error)) from error
    host = _chosen_host(job, config.getoption("hosts", default=None))
    directory = Path(tempfile.mkdtemp(prefix="ssh-"))
    shell = BoxShell(host, write_config(host, directory))
    config.stash[_JOB] = job
    config.stash[_SHELL] = shell
    config.option.hosts = f"ssh://{host.name}"
    config.option.ssh_config = str(shell.config)
    config.option.sudo = host.become
    config.pluginmanager.register(Recorder(job, host, config.getoption("boxwright_checks_fd", default=None)))


def _chosen_host(job: VerifyJob, wanted: str | None) -> VerifyHost:
    """The job's host that testinfra's `--hosts` names, by its name or its address."""
    if wanted is None:
        if len(job.hosts) == 1:
            return job.hosts[0]
        raise pytest.UsageError("the job has several hosts: name one by --hosts")
    bare = re.sub(r"^\w[\w-]*://|[?].*$", "", wanted).rpartition("@")[2]
    for host in job.hosts:
        if bare in (host.name, host.address, f"{host.address}:{host.port}", f"[{host.address}]:{host.port}"):
            return host
    raise pytest.UsageError(f"no host '{wanted}' in the job, which has {', '.join(h.name for h in job.hosts)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the ssh connection and remove what was written for it."""
    shell = config.stash.get(_SHELL, None)
    if shell is not None:
        close_connections(shell.config.parent)
        shutil.rmtree(shell.config.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def job(request: pytest.FixtureRequest) -> VerifyJob:
    """What is verified."""
    return request.config.stash[_JOB]


@pytest.fixture(scope="session")
def shell(request: pytest.FixtureRequest) -> BoxShell:
    """The way onto the box, for programs that take their input on standard input."""
    return request.config.stash[_SHELL]


@pytest.fixture(scope="session")
def target(shell: BoxShell) -> VerifyHost:
    """The host under test and what it promised."""
    return shell.host


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Records what the check saw, in a few words that a person can judge."""
    seen: list[str] = request.node.stash.setdefault(SEEN, [])
    return seen.append
