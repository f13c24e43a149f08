"""Every profile on its twin: all stages of the machine, verified, and nothing to do the second time.

One of NVIDIA's, and the one of two hosts, are run every time; the others when asked for (`--on-demand`).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab_command import Boxwright, Ran

from boxwright.errors import Exit
from boxwright.model.catalogues import load_profile, profile_names
from boxwright.planning.stages import stages_of
from boxwright.provisioning.target import Choice, choose

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

# The lab's own profiles are taken through all of it, with their stacks, by tests of their own.
OF_THE_LAB = {"lab", "lab-full", "lab-ollama", "lab-vllm", "lab-vllm-pair"}
EVERY_TIME = [("8x4090", "debian-12"), ("2x8xh20", "debian-13")]
ON_DEMAND = [
    ("8x4090", "debian-13"),
    *((name, "debian-12") for name in profile_names() if name not in OF_THE_LAB),
]
CASES = list(dict.fromkeys([*EVERY_TIME, *ON_DEMAND]))
AT_ONCE = 2
WITHOUT_STACK = {"engine", "chat_page"}


@dataclass(frozen=True)
class Journey:
    """Two runs on fresh twins of a profile."""

    first: Ran
    second: Ran


def travel(boxwright: Boxwright, profile: str, distribution: str, folder: Path) -> Journey:
    name = f"test-{profile}-{distribution[-2:]}"
    site = folder / f"{name}.yml"
    site.write_text(f"name: {name}\ntwin: {{distribution: {distribution}}}\nhosts: [{{name: {name}-1}}]\n")
    words = ("--profile", profile, "--site", str(site))
    stages = ",".join(stage.name for stage in stages_of(choose(Choice(profile, str(site)))))
    try:
        return Journey(
            boxwright("provision", *words, "--yes"),
            # By its stages' names, so that it is not verified once more.
            boxwright("provision", *words, "--yes", "--stages", stages),
        )
    finally:
        boxwright("lab.down", "--site", str(site))


@pytest.fixture(scope="module")
def journeys(
    boxwright: Boxwright, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[tuple[str, str], Future[Journey]]]:
    """The journeys of the cases that were asked for, a few at once."""
    folder = tmp_path_factory.mktemp("sites")
    own = [item for item in request.session.items if item.module is request.module and hasattr(item, "callspec")]
    wanted = [item.callspec.params["case"] for item in own]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case: pool.submit(travel, boxwright, *case, folder) for case in dict.fromkeys(wanted)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(case), marks=[] if case in EVERY_TIME else [pytest.mark.on_demand])
        for case in CASES
    ],
)
def test_every_profile_is_provisioned_verified_and_then_left_alone(
    journeys: dict[tuple[str, str], Future[Journey]], case: tuple[str, str]
) -> None:
    profile, journey = load_profile(case[0]), journeys[case].result()
    first = journey.first
    assert first.code == Exit.OK, first.text[-4000:]
    assert {line["verdict"] for line in first.kind("contract")} <= {"ok", "unproven"}
    assert len({line["host"] for line in first.kind("contract")}) == profile.nodes

    assert not [event for event in first.kind("event") if "ansible-local" in event["diff"]]

    checks = {(line["host"], line["id"]): line for line in first.kind("check")}
    results = {key: line["result"] for key, line in checks.items()}
    assert set(results.values()) <= {"pass", "unproven"}
    heads = {host for host, check in results if check == "monitoring.nodes"}
    assert {host for host, check in results if check == "gateway.head"} | heads == set(
        {host for host, _ in results} if profile.nodes > 1 else ()
    )
    assert len(heads) == (profile.nodes > 1)
    assert {results[key] for key in results if key[1] in {"monitoring.nodes", "gateway.head"}} <= {"pass"}
    # Whatever needs a card that answers, or a stack, is told as unproven, and nothing of it as passed.
    hopeless = {key for key in results if key[1].split(".")[0] in {"accelerators", *WITHOUT_STACK}}
    assert hopeless
    assert {results[key] for key in hopeless} == {"unproven"}
    assert all(checks[key]["evidence"] for key in hopeless)

    again = [
        f"{event['stage']}: {event['resource']}"
        for event in journey.second.kind("event")
        if event["outcome"] == "changed"
    ]
    assert journey.second.code == Exit.OK, journey.second.text[-4000:]
    assert not again


def test_every_profile_has_a_case() -> None:
    assert {name for name, _ in CASES} | OF_THE_LAB == set(profile_names())
