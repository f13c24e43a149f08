"""The counter on a twin's wire, by which tests of bundles prove that nothing tried to leave, sees what would."""

from __future__ import annotations

from collections import Counter

import pytest
from bundled_box import Wire
from lab_command import Boxwright

from boxwright.errors import Exit

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("twin_site", [("test-wire", "debian-12")], indirect=True, ids=["12"])
def test_what_a_twin_begins_is_counted_by_what_it_is_and_answers_are_not(boxwright: Boxwright, twin_site: str) -> None:
    assert boxwright("lab.up", "--profile", "lab", "--site", twin_site).code == Exit.OK
    wire = Wire.of(boxwright, "test-wire")
    wire.count()
    assert boxwright("detect", "--site", twin_site).code == Exit.OK  # ssh
    controller, there = f"{wire.subnet}.1", "fd00:b0::1"

    def sends(command: str) -> set[str]:
        before = Counter(wire.counted())
        wire.run(wire.twin, "bash", "-c", command)
        return set(Counter(wire.counted()) - before)

    def connects(place: str) -> str:
        return f"(echo >/dev/tcp/{place}) 2>/dev/null || :"

    assert wire.counted() == {}
    assert sends(connects(f"{controller}/8873")) == set()  # the bundle's server, were it there
    assert sends(connects(f"{controller}/8874")) == {"connection"}
    assert sends(connects(f"{controller}/3128")) == {"proxy", "connection"}
    assert sends(f"echo >/dev/udp/{controller}/53") == {"DNS", "datagram"}
    assert sends(f"echo >/dev/udp/{controller}/123") == {"datagram"}
    assert sends(connects("192.0.2.1/80")) == {"elsewhere"}
    wire.run(wire.twin, "ip", "-6", "address", "add", "fd00:b0::10/64", "dev", "eth0", "nodad")
    neighbour = (there, "lladdr", "02:00:00:00:00:01", "dev", "eth0")
    wire.run(wire.twin, "ip", "-6", "neighbour", "add", *neighbour)
    assert sends(f"echo >/dev/udp/{there}/53") == {"IPv6", "DNS"}
