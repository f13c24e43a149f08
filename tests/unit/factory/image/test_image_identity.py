"""Ids and dates of an image follow from its lock, and from nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError
from boxwright.factory.image.identity import Identity, newest

ONE, OTHER = Identity("a" * 64, 1_700_000_000), Identity("b" * 64, 1_700_000_000)


def ids(identity: Identity) -> list[str]:
    return [identity.disk, identity.esp, identity.root, identity.filesystem, identity.hash_seed, identity.volume]


def test_one_lock_has_one_set_of_ids_and_no_id_twice() -> None:
    assert ids(ONE) == ids(Identity("a" * 64, 5))
    assert not set(ids(ONE)) & set(ids(OTHER))
    assert len(set(ids(ONE))) == 6
    assert re.fullmatch(r"[0-9a-f]{8}", ONE.volume)


def test_the_date_is_that_of_the_newest_package(tmp_path: Path) -> None:
    paths = []
    for number, date in enumerate((1_600_000_000, 1_700_000_000, 1_650_000_000)):
        path = tmp_path / f"{number}.deb"
        path.write_bytes(b"!<arch>\n%-16s%-12d0     0     100644  4         `\n2.0\n" % (b"debian-binary", date))
        paths.append(path)
    assert newest(paths) == 1_700_000_000
    paths[1].write_bytes(b"no package")
    with pytest.raises(BoxwrightError, match="no Debian package"):
        newest(paths)
