"""The slowest link is told before a batch begins: of hubs by a stated figure, of the controller as measured."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from targets import target

from boxwright.console import Console
from boxwright.model.site import ModelSources, Networks
from boxwright.planning.weights import wanted_builds
from boxwright.provisioning.link import show_link

pytestmark = pytest.mark.usefixtures("own_places")


def told(*hosts: str, **site: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    show_link(Console(json=True, stdout=out), target(*hosts, **site))
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
