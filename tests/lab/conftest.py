"""What the tests on twins share: the command with a state of its own, and a site of one twin."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from lab_command import Boxwright

from boxwright.places import ROOT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a file build on each other: where some of it are run on demand, all of it are."""
    if config.option.markexpr == "on_demand":
        files = {item.path for item in items if item.get_closest_marker("on_demand")}
        for item in items:
            if item.path in files:
                item.add_marker("on_demand")


@pytest.fixture(scope="module")
def boxwright(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxwright]:
    """The command, with vault password, run logs and working files of the test's own."""
    home = tmp_path_factory.mktemp("home")
    password = home / "vault-password"
    password.write_text("a password of the tests\n")
    password.chmod(0o600)
    with tempfile.TemporaryDirectory(prefix="bw-run-") as runtime:  # short: sockets have short paths
        own = {
            "BOXWRIGHT_VAULT_PASSWORD_FILE": str(password),
            "BOXWRIGHT_STATE": str(home / "state"),
            "BOXWRIGHT_RUNTIME": runtime,
            "PYTHONPATH": str(ROOT),
        }
        yield Boxwright({**os.environ, **own})


@pytest.fixture(scope="module")
def twin_site(
    tmp_path_factory: pytest.TempPathFactory, boxwright: Boxwright, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A site of one twin; `request.param` is its name and distribution."""
    name, distribution = request.param
    path = tmp_path_factory.mktemp("site") / "site.yml"
    path.write_text(f"name: {name}\ntwin: {{distribution: {distribution}}}\nhosts: [{{name: {name}-1}}]\n")
    yield str(path)
    boxwright("lab.down", "--site", str(path))
