"""What unit tests share: programs that stand in for those that would reach another machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from boxwright import places

StandIn = Callable[[str, str], None]

# A busy machine is no failure: property tests are not timed.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _umask_as_before() -> Iterator[None]:
    """Programs of boxes set their own, and tests run them in this process."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a bash script in the place of a program, for this test and what it starts."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)

    return put


@pytest.fixture
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """State and working files of the test's own; the path is that of the state directory."""
    for variable, name in (("STATE", "state"), ("RUNTIME", "runtime"), ("CACHE", "cache")):
        monkeypatch.setenv(f"BOXWRIGHT_{variable}", str(tmp_path / name))
    yield tmp_path / "state"
    shutil.rmtree(places.sockets(), ignore_errors=True)
