"""How far a box's clock is from this machine's, and what its hardware clock must tell where no server sets either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.model.site import Host, Site
from boxwright.verification.clock import hardware_trouble, offset, told
from boxwright.verification.remote import upkeep_facts


@pytest.mark.parametrize(
    ("there", "ahead"),
    [(99.0, -1.0), (100.0, 0.0), (101.5, 0.0), (103.0, 0.0), (163.5, 60.5)],
)
def test_only_what_a_round_trip_cannot_explain_is_an_offset(there: float, ahead: float) -> None:
    assert offset(100.0, there, 103.0) == ahead


def test_an_offset_is_told_with_its_direction() -> None:
    assert (told(600.04), told(-2.5)) == ("600.0 s ahead of", "2.5 s behind")


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        (1000.0, ""),
        (940.0, ""),
        (1061.0, ""),
        (4600.0, "its hardware clock, which sets it at the next boot, is 3600.0 s ahead of the system's"),
        (938.0, "its hardware clock, which sets it at the next boot, is 62.0 s behind the system's"),
        (None, "it has no hardware clock to take the time from at its next boot"),
    ],
)
def test_the_hardware_clock_must_have_the_time_for_the_next_boot(hardware: float | None, said: str) -> None:
    assert hardware_trouble(hardware, 1000.0) == said


def test_the_hardware_clock_is_read_or_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "since_epoch"
    monkeypatch.setattr(upkeep_facts, "Path", lambda _: device)
    assert upkeep_facts.hardware_clock()["hardware"] is None
    device.write_text("1796000000\n")
    assert upkeep_facts.hardware_clock()["hardware"] == 1796000000.0


@pytest.mark.parametrize(
    ("site", "none"),
    [
        ({}, False),
        ({"without_time_server": True}, True),
        ({"ntp_servers": ["10.0.0.1"]}, False),
        ({"twin": {"kind": "container"}}, False),
        ({"twin": {"kind": "vm"}}, True),  # its lab has no way out
        ({"twin": {"kind": "vm"}, "ntp_servers": ["10.83.0.1"]}, False),
    ],
)
def test_which_sites_have_no_time_server(site: dict[str, Any], none: bool) -> None:
    hosts = (Host(name="box-1", address="192.0.2.7"),)
    assert Site(name="s", hosts=hosts, **site).has_no_time_server is none


def test_a_site_cannot_name_time_servers_and_have_none() -> None:
    with pytest.raises(ValueError, match=r"ntp_servers names 10\.0\.0\.1, and without_time_server says"):
        Site(
            name="s", hosts=(Host(name="b", address="192.0.2.7"),), ntp_servers=("10.0.0.1",), without_time_server=True
        )
