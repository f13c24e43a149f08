"""The key that a bundle's lists are signed by is thrown away, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from factory.bundles import lock_of

from boxwright import places
from boxwright.errors import BoxwrightError
from boxwright.factory.apt_lists import write_lists
from boxwright.factory.bundle import Bundle
from boxwright.model.debian_packages import BUNDLE_KEY


@pytest.mark.usefixtures("own_places")
def test_lists_are_signed_and_no_key_is_left(tmp_path: Path, stand_in: Callable[[str, str], None]) -> None:
    stand_in("gpgconf", "echo 'no agent' >&2; exit 2")
    bundle, lock = Bundle(tmp_path / "b"), lock_of()
    write_lists(bundle, lock)
    assert "BEGIN PGP PUBLIC KEY" in (bundle.lists(lock.name) / BUNDLE_KEY).read_text()
    assert list(bundle.lists(lock.name).glob("dists/*/InRelease"))
    assert list(places.sockets().iterdir()) == []


@pytest.mark.usefixtures("own_places")
def test_nor_is_one_where_gpg_fails(tmp_path: Path, stand_in: Callable[[str, str], None]) -> None:
    stand_in("gpg", 'touch "$2/secret"; echo no entropy >&2; exit 2')
    stand_in("gpgconf", "exit 2")
    with pytest.raises(BoxwrightError, match="gpg failed on a bundle's packages"):
        write_lists(Bundle(tmp_path / "b"), lock_of())
    assert list(places.sockets().iterdir()) == []
