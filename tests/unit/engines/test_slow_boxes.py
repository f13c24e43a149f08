"""Boxes that answer slowly: how long a login may take is the site's to say, and what went wrong is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxwright.engines.ansible.callback_plugins.boxwright_events import _message
from boxwright.engines.ansible.engine import invocation
from boxwright.engines.pyinfra.job import JobHost
from boxwright.engines.pyinfra.session import Session
from boxwright.errors import UnreachableError
from boxwright.transport.ssh import Endpoint


@contextmanager
def a_box_that_says_nothing() -> Iterator[int]:
    """A port that takes connections, and never speaks ssh."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_ansible_waits_for_a_login_as_long_as_the_site_says(tmp_path: Path) -> None:
    slow = Endpoint("box-1", "192.0.2.7", 22, "root", None, None, connect_timeout_s=60)
    with invocation(slow, [], ["base"], dry_run=False, directory=tmp_path) as ansible:
        assert ansible.environment["ANSIBLE_TIMEOUT"] == "180"


@pytest.mark.parametrize("step", [1, 3])
def test_pyinfra_waits_for_a_login_as_long_as_the_site_says(tmp_path: Path, step: int) -> None:
    pins = tmp_path / "known_hosts"
    pins.touch()
    with a_box_that_says_nothing() as port:
        host = JobHost(
            name="box-1",
            address="127.0.0.1",
            port=port,
            known_hosts=pins,
            connect_timeout_s=step,
        )
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=f"cannot reach root@127.0.0.1:{port}"):
            Session(host, deadline_s=60).connect()
    assert step <= time.monotonic() - began < step + 2


def test_of_a_loop_that_lost_its_box_the_reason_is_told() -> None:
    lost = {"unreachable": True, "msg": "Connection timed out."}
    assert _message({"results": [{"changed": False}, lost], "msg": "All items completed"}) == "Connection timed out."
