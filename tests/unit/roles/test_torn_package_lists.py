"""What the role base makes of lists of packages that a power cut tore."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/base/files/torn_package_lists.py"
SITE = "deb.example.org_debian_dists_trixie"
INDEX = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
MD5Sum:
 d41d8cd98f00b204e9800998ecf8427e 7 main/binary-amd64/Packages
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        9 main/binary-amd64/Packages
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        0 contrib/binary-amd64/Packages
-----BEGIN PGP SIGNATURE-----
"""


@pytest.fixture
def torn(tmp_path: Path) -> Callable[[], list[str]]:
    spec = importlib.util.spec_from_file_location("torn_package_lists", SCRIPT)
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / f"{SITE}_InRelease").write_text(INDEX)
    (tmp_path / f"{SITE}_main_binary-amd64_Packages").write_text("Package:\n")
    (tmp_path / f"{SITE}_contrib_binary-amd64_Packages").touch()
    return lambda: [path.name for path in module.torn(tmp_path)]


def test_lists_that_are_as_long_as_they_should_be_are_whole(torn: Callable[[], list[str]]) -> None:
    assert torn() == []


@pytest.mark.parametrize("text", ["", "Pack"])
def test_shorter_ones_are_torn(torn: Callable[[], list[str]], tmp_path: Path, text: str) -> None:
    (tmp_path / f"{SITE}_main_binary-amd64_Packages").write_text(text)
    assert torn() == [f"{SITE}_main_binary-amd64_Packages"]


def test_an_empty_index_is_torn(torn: Callable[[], list[str]], tmp_path: Path) -> None:
    (tmp_path / f"{SITE}_InRelease").write_text("")
    assert torn() == [f"{SITE}_InRelease"]
