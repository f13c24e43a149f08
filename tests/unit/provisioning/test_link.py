"""The slowest link is told before a batch begins, with what its machines hand on to each other to spare it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from targets import target

from boxwright.console import Console
from boxwright.model.site import ModelSources, Networks, ServedBundle
from boxwright.model.variables import named
from boxwright.planning.weights import wanted_builds
from boxwright.provisioning.link import plan_link
from boxwright.provisioning.target import Target
from boxwright.reports.certificate import UsedBundle

pytestmark = pytest.mark.usefixtures("own_places")


def told(*hosts: str, **site: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    plan_link(Console(json=True, stdout=out), target(*hosts, **site))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def bytes_of_a_box() -> int:
    return sum(file.bytes for build in wanted_builds(target("a").fleet) for file in build.files)


def test_one_machine_needs_no_plan(stand_in: Any) -> None:
    stand_in("ssh", "true")
    assert told("a") == []


def test_hubs_by_an_assumption_that_is_called_one(stand_in: Any) -> None:
    stand_in("ssh", "true")
    (line,) = told("a", "b")
    assert (line["source"], line["machines"], line["bytes"]) == ("the hubs", 2, 2 * bytes_of_a_box())
    assert line["basis"].startswith("ASSUMED")
    assert line["predicted_seconds"] == pytest.approx(line["bytes"] * 8 / 1e9, abs=0.1)


def test_hubs_by_what_the_site_says(stand_in: Any) -> None:
    stand_in("ssh", "true")
    (line,) = told("a", "b", networks=Networks(uplink_mbit_s=50))
    assert (line["mbit_s"], line["basis"]) == (50, "networks.uplink_mbit_s of the site")


def test_machines_that_have_theirs_or_cannot_be_asked_wait_for_nothing(stand_in: Any) -> None:
    (build,) = wanted_builds(target("a").fleet)
    listed = "".join(f"{file.bytes} {build.directory}/{file.name}\\n" for file in build.files)
    stand_in("ssh", f"[[ $* == *find* ]] && printf '{listed}'; true")
    assert told("a", "b") == []
    stand_in("ssh", "exit 255")
    assert told("a", "b") == []


def test_a_machine_that_answers_with_nonsense_keeps_nobody(stand_in: Any) -> None:
    stand_in("ssh", f"printf '² x\\n{'9' * 5000} y\\nno size\\n'; true")
    assert [line["machines"] for line in told("a", "b")] == [2]


def test_the_controllers_own_files_go_over_a_line_that_was_measured(stand_in: Any, tmp_path: Path) -> None:
    (build,) = wanted_builds(target("a").fleet)
    for file in build.files:
        with (tmp_path / file.name).open("wb") as empty:
            empty.truncate(file.bytes)
    stand_in("ssh", "[[ $* == *'cat >/dev/null'* ]] && cat >/dev/null; true")
    (line,) = told("a", "b", models=ModelSources(controller_folders=(str(tmp_path),)))
    assert (line["source"], line["bytes"]) == ("the controller", 2 * bytes_of_a_box())
    assert line["basis"].startswith("just measured")
    assert line["mbit_s"] > 10


ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


def at(*addresses: str, **site: Any) -> Target:
    """Hosts a, b and so on, at these addresses."""
    made = target(*"abcdef"[: len(addresses)], **site)
    pairs = zip(made.fleet.site.hosts, addresses, strict=True)
    hosts = tuple(host.model_copy(update={"address": address}) for host, address in pairs)
    whose = made.fleet.site.model_copy(update={"hosts": hosts})
    mirrors = made.mirrors.model_copy(update={"builds": "/srv/builds"})
    return replace(made, fleet=made.fleet.model_copy(update={"site": whose}), mirrors=mirrors)


def planned(*addresses: str, **site: Any) -> tuple[Target, list[dict[str, Any]]]:
    out = io.StringIO()
    made = plan_link(Console(json=True, stdout=out), at(*addresses, **site))
    return made, [json.loads(line) for line in out.getvalue().splitlines()]


def test_over_a_slow_line_machines_hand_on_and_each_is_told_of_the_others(stand_in: Any) -> None:
    stand_in("ssh", "true")
    made, (line,) = planned(*ADDRESSES, networks=Networks(uplink_mbit_s=5))
    assert line["handed_on"] is True
    assert line["handed_on_seconds"] < line["predicted_seconds"]
    assert line["between_basis"].startswith("ASSUMED")
    (build,) = wanted_builds(made.fleet)
    assert made.hand_on
    assert set(made.hand_on.files) == {f"{build.directory}/{file.name}" for file in build.files}
    assert [peer.address for peer in made.hand_on.peers] == list(ADDRESSES)
    assert made.hand_on.peers[0].enter[0] == "ssh"
    assert made.hand_on.peers[0].enter[-1] == ADDRESSES[0]
    for host in made.fleet.hosts:
        (data,) = [named(one) for one in made.variables(host)[1] if "models_hand_on" in named(one)]
        assert data["models_hand_on"]["peers"][1]["name"] == "b"


def test_of_a_bundle_that_this_controller_serves_the_line_is_measured(stand_in: Any) -> None:
    stand_in("ssh", "[[ $* == *'cat >/dev/null'* ]] && cat >/dev/null; true")
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
    made = at(*ADDRESSES, bundle=ServedBundle(url="http://192.0.2.9:8873/lab-debian-12", suite="platform", key=key))
    used = UsedBundle(profile="lab", distribution="debian-12", lock="0" * 64, signed_at="", signing_key="")
    lines = []
    for one in (made, replace(made, used=used)):
        out = io.StringIO()
        plan_link(Console(json=True, stdout=out), one)
        lines.append(json.loads(out.getvalue()))
    elsewhere, here = lines
    assert (elsewhere["source"], here["source"]) == ("the bundle", "the bundle")
    assert elsewhere["basis"].startswith("ASSUMED")
    assert here["basis"].startswith("just measured")


def test_where_handing_on_takes_longer_each_gets_its_own(stand_in: Any) -> None:
    stand_in("ssh", "true")
    made, (line,) = planned(*ADDRESSES, networks=Networks(uplink_mbit_s=5, between_mbit_s=2))
    assert (line["handed_on"], made.hand_on) == (False, None)
    assert (line["between_mbit_s"], line["between_basis"]) == (2, "networks.between_mbit_s of the site")
    assert line["handed_on_seconds"] > line["predicted_seconds"]
    assert not any("models_hand_on" in named(one) for host in made.fleet.hosts for one in made.variables(host)[1])


@pytest.mark.parametrize("hosts", [("127.0.0.1", "127.0.0.2", "127.0.0.3"), ("a.invalid", "b.invalid", "192.0.2.1")])
def test_machines_without_addresses_of_their_own_hand_nothing_on(stand_in: Any, hosts: tuple[str, ...]) -> None:
    stand_in("ssh", "true")
    made, (line,) = planned(*hosts, networks=Networks(uplink_mbit_s=5))
    assert (line["handed_on"], line["handed_on_seconds"], made.hand_on) == (False, None, None)


def test_a_person_reads_both_times(stand_in: Any) -> None:
    stand_in("ssh", "true")
    out = io.StringIO()
    plan_link(Console(stdout=out), at(*ADDRESSES, networks=Networks(uplink_mbit_s=5)))
    first, second = out.getvalue().splitlines()
    assert "0.30 GB in all for 3 machines, from the hubs. Predicted: 7 min" in first
    assert second.startswith("  One of them gets each file, and they hand it on: predicted 2 min")
