"""Fixtures of the acceptance suite. How it runs and what a check is: docs/checks.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.verification.check import UnprovenError
from boxwright.verification.gateway import Gateway
from boxwright.verification.job import VerifyHost
from boxwright.verification.ssh import BoxShell

_BOX_AUTHORITY = "/etc/boxwright/pki/ca.crt"


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    # Here, so that plain pytest knows the plugin's options too.
    pluginmanager.import_plugin("boxwright.verification.plugin")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the suite out of a run of the project's own tests, which has no box to look at."""
    if config.getoption("boxwright_job", default=None) is None:
        return True
    return None


@pytest.fixture(scope="session", autouse=True)
def _connection(shell: BoxShell) -> None:
    """Open the connection once, so that a box that does not answer is said at once by every check."""
    shell.open()


@pytest.fixture(scope="session")
def stack(target: VerifyHost) -> None:
    """For checks of what serves: nothing of it can be proven before it is installed."""
    if target.without_stack:
        raise UnprovenError(target.without_stack, because="services.stack")


@pytest.fixture(scope="session")
def authority(target: VerifyHost, shell: BoxShell) -> str:
    """The authority that the gateway's certificate must come from, by a way that the gateway cannot forge."""
    if target.ca_pem is not None:
        return target.ca_pem
    text: str = shell.python(
        "import json, pathlib, sys; json.dump(pathlib.Path(DATA).read_text(), sys.stdout)", _BOX_AUTHORITY
    )
    return text


@pytest.fixture(scope="session")
def gateway(target: VerifyHost, authority: str) -> Iterator[Gateway]:
    gateway = Gateway(target, authority)
    yield gateway
    gateway.close()
