"""`models.switch` on a box of several machines: what it is refused for, and what is said when it fails."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from targets import target

from boxwright.console import Console
from boxwright.errors import BoxwrightError, Exit, UnreachableError
from boxwright.provisioning import switch as switch_module
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.switch import served, switch
from boxwright.provisioning.switched import file_of
from boxwright.provisioning.target import Choice

# One machine of the pair is the one that runs the tests, where the real probe runs; the other one is gone.
SSH = """
printf '%s\\n' "$*" >>{calls}
case "${{@: -2:1}}" in
192.0.2.1) eval "exec ${{!#}}" ;;
*) echo 'ssh: connect to host gone port 22: No route to host' >&2; exit 255 ;;
esac
"""


@pytest.fixture
def pair(tmp_path: Path) -> str:
    path = tmp_path / "pair.yml"
    hosts = "[{name: a-1, address: 192.0.2.1}, {name: a-2, address: 192.0.2.2}]"
    mirrors = "{debian: http://mirror.example/debian, python_index: https://mirror.example/simple}"
    path.write_text(f"name: pair\nmirrors: {mirrors}\nhosts: {hosts}\n")
    return str(path)


@pytest.mark.usefixtures("own_places")
@pytest.mark.parametrize("host", ["", "a-1", "192.0.2.2"])
def test_a_box_of_which_one_machine_is_out_of_reach_is_left_as_it_is(
    pair: str, host: str, tmp_path: Path, stand_in: Callable[[str, str], None]
) -> None:
    calls = tmp_path / "calls"
    stand_in("ssh", SSH.format(calls=calls))
    told = io.StringIO()
    code = switch(
        Console(json=True, stdout=told),
        Choice("lab-vllm-pair", site=pair, host=host),
        served("gemma-3-270m"),
        yes=True,
    )
    assert code is Exit.ERROR
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    errors = {one["where"]: one["message"] for one in lines if one["type"] == "error"}
    assert errors["a-2"].startswith("ssh did not get in")
    assert "a-1" in errors  # half a box serves nobody
    assert "deploy.lock" not in calls.read_text()
    assert not file_of("pair").exists()


AGAIN = "vllm.service serves smollm2 again, with the files that it had."


@pytest.mark.parametrize(
    ("head", "other", "serves"),
    [
        (f"a log\nserve-unit: {AGAIN}", "", AGAIN),  # the other node was stopped while it went back
        ("", f"serve-unit: {AGAIN}", AGAIN),
        ("no space left", "", "./invoke verify says what serves there."),
    ],
)
def test_what_serves_on_a_box_is_said_once_by_whichever_machine_knows_it(head: str, other: str, serves: str) -> None:
    whole, told = target("a-1", "a-2", "b-1", "b-2", profile="2x8xh20"), io.StringIO()
    outcomes = [HostOutcome(host.name) for host in whole.fleet.hosts]
    outcomes[0].error = BoxwrightError("it failed", where="a-1", output=head)
    outcomes[1].error = UnreachableError("it was stopped", where="a-2", output=other)
    switch_module.tell_failures(Console(json=True, stdout=told), whole.fleet, outcomes, "gemma-3-270m/q4_k_m")
    (line,) = [json.loads(line) for line in told.getvalue().splitlines()]
    assert line["text"] == f"a-1, a-2 were not switched to gemma-3-270m/q4_k_m. {serves}"
