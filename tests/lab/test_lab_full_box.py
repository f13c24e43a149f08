"""Profile `lab-full`: a box with llama.cpp built from source and all of Open WebUI, by one command."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lab_command import Boxwright

from boxwright.errors import Exit

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("twin_site", [("test-full-box", "debian-12")], indirect=True, ids=["12"])
def test_it_is_verified_and_then_left_alone(boxwright: Boxwright, twin_site: str) -> None:
    words = ("provision", "--profile", "lab-full", "--site", twin_site, "--yes")
    patient = replace(boxwright, patience_s=3000)
    first = patient(*words)
    assert first.odd_checks == {}
    assert first.code == Exit.OK, first.text[-3000:]
    second = patient(*words)
    assert second.code == Exit.OK, second.text[-3000:]
    assert [event["resource"] for event in second.kind("event") if event["outcome"] == "changed"] == []
