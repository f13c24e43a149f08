"""What a box tells of the names that it is known by."""

from __future__ import annotations

import os

from boxwright.verification.remote import platform_facts


def test_a_machine_tells_its_name_and_where_it_leads() -> None:
    told = platform_facts.names()
    assert told["running"] == os.uname().nodename
    assert set(told) == {"running", "static", "address"}
    assert platform_facts.address_of("localhost") in ("127.0.0.1", "::1")
    assert platform_facts.address_of("no-such-name.invalid") == ""
