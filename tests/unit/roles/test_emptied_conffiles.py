"""What the role base makes of packages whose settings a power cut emptied."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/base/files/emptied_conffiles.py"
DIGEST = "0" * 32
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
TOLD = f"""\
nginx-common\tall\t1:1.22-9\tunpacked
 /etc/nginx/nginx.conf newconffile
 /etc/nginx/gone.conf {DIGEST} obsolete
bash\tamd64\t5.2\tinstalled

libc6\tamd64\t2.36\tinstalled
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf {DIGEST}
"""


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("emptied_conffiles", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "emptied_conffiles", module)  # dataclasses look themselves up there
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine where the package `p` was unpacked a minute after the date of its files."""
    made(tmp_path, "var/lib/dpkg/info/p.list", "x", at=1060)
    return tmp_path


def made(root: Path, place: str, text: str, at: int = 1000) -> Path:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def lost(script: Any, root: Path, status: str, digest: str) -> list[str]:
    package = script.Package("p", "amd64", "1", status, (("/etc/p.conf", digest),))
    return [str(path.relative_to(root)) for path in script.emptied(package, root)]


def test_packages_are_read_with_the_conffiles_that_they_have_now(script: Any) -> None:
    nginx, bash, libc = script.read(TOLD)
    assert (nginx.status, nginx.conffiles) == ("unpacked", (("/etc/nginx/nginx.conf", "newconffile"),))
    assert nginx.archive == "nginx-common_1%3a1.22-9_all.deb"
    assert bash.conffiles == ()
    assert libc.conffiles == (("/etc/ld.so.conf.d/x86_64-linux-gnu.conf", DIGEST),)


def test_an_empty_one_that_was_not_so_in_its_package_is_lost(script: Any, root: Path) -> None:
    place = made(root, "etc/p.conf", "")
    assert lost(script, root, "installed", DIGEST) == ["etc/p.conf"]
    assert lost(script, root, "installed", OF_NOTHING) == []
    assert lost(script, root, "half-installed", DIGEST) == []
    place.write_text("full")
    assert lost(script, root, "installed", DIGEST) == []


def test_one_that_somebody_emptied_afterwards_stays_so(script: Any, root: Path) -> None:
    made(root, "etc/p.conf", "", at=2000)
    assert lost(script, root, "installed", DIGEST) == []


def test_a_new_one_that_waits_for_its_package_is_lost_too(script: Any, root: Path) -> None:
    made(root, "etc/p.conf.dpkg-new", "")
    assert lost(script, root, "unpacked", "newconffile") == ["etc/p.conf.dpkg-new"]
    assert lost(script, root, "half-configured", DIGEST) == ["etc/p.conf.dpkg-new"]
    assert lost(script, root, "installed", DIGEST) == []


def test_one_that_has_its_name_already_though_its_package_waits_is_lost_too(script: Any, root: Path) -> None:
    place = made(root, "etc/p.conf", "")
    assert lost(script, root, "half-configured", "newconffile") == ["etc/p.conf"]
    assert lost(script, root, "installed", "newconffile") == ["etc/p.conf"]
    place.write_text("full")
    assert lost(script, root, "half-configured", "newconffile") == []


def test_one_that_is_missing_or_a_link_is_left_alone(script: Any, root: Path) -> None:
    assert lost(script, root, "installed", DIGEST) == []
    (root / "etc").mkdir()
    (root / "etc/p.conf").symlink_to(made(root, "etc/other", ""))
    assert lost(script, root, "installed", DIGEST) == []
