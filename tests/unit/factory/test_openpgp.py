"""The fingerprint that boxes are told is the one that gpg reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.factory.openpgp import fingerprint
from boxwright.lab.vendors.repository import KEY, build


def test_it_is_the_one_that_gpg_tells(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    told = build(folder, [])
    assert fingerprint((folder / KEY).read_text()) == told


@pytest.mark.parametrize(
    "text",
    ["", "no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="no OpenPGP key"):
        fingerprint(text)
