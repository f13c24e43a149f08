"""What is handed over with a box is the box's own certificate, and nothing that only stands in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from targets import target

from boxwright.errors import BoxwrightError
from boxwright.provisioning.handing_over import authority_of, fingerprint

PEM = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"


def test_the_authority_of_a_box_is_told_as_it_stands_there(
    stand_in: Callable[[str, str], None], own_places: Path
) -> None:
    stand_in("ssh", f"printf -- '{PEM}'")
    whose = target("box-1")
    assert authority_of(whose, whose.fleet.hosts[0]) == PEM
    assert fingerprint(PEM).startswith("BA:78:16:BF")  # sha256 of `abc`


@pytest.mark.parametrize(
    "told", ["", "This account is not available.", PEM.replace("YWJj", "YWJ"), PEM.replace("YWJj", "ä")]
)
def test_what_is_no_certificate_is_told_of_that_box_alone(
    stand_in: Callable[[str, str], None], own_places: Path, told: str
) -> None:
    stand_in("ssh", f"printf -- '{told}'")
    whose = target("box-1")
    with pytest.raises(BoxwrightError, match=r"box-1: /etc/boxwright/pki/ca\.crt is no certificate"):
        authority_of(whose, whose.fleet.hosts[0])
