from __future__ import annotations

from pathlib import Path

import pytest

from boxwright import mirrors
from boxwright.errors import BadInputError
from boxwright.mirrors import (
    AptSource,
    debian_mirrors,
    find_links,
    parse_deb822,
    parse_one_line,
    python_index,
    resolve,
)
from boxwright.model.site import Mirrors

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian/
# a comment inside a stanza
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://evil.example/debian

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_reads_folded_fields_and_skips_disabled_and_source_stanzas() -> None:
    assert list(parse_deb822(DEB822)) == [
        AptSource("http://mirror.example/debian", "bookworm", ("main", "contrib")),
        AptSource("http://mirror.example/debian", "bookworm-updates", ("main", "contrib")),
    ]


def test_one_line_reads_options_and_comments() -> None:
    text = """
    # deb http://commented.example/debian bookworm main
    deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://one.example/debian/ bookworm main contrib # x
    deb-src http://source.example/debian bookworm main
    deb http://flat.example/repo ./
    deb
    """
    assert list(parse_one_line(text)) == [
        AptSource("http://one.example/debian", "bookworm", ("main", "contrib")),
        AptSource("http://flat.example/repo", "./", ()),
    ]


@pytest.mark.parametrize("text", ["", "\0", "deb [", ":::\n:", "Types", " folded first\n", "URIs: x\nTypes: deb"])
def test_hostile_sources_yield_nothing_that_looks_like_a_mirror(text: str) -> None:
    found = (*parse_deb822(text), *parse_one_line(text))
    assert debian_mirrors(found) == (None, None)


def test_third_party_repositories_are_not_taken_for_debian() -> None:
    sources = (
        AptSource("https://tools.example/apt", "bookworm", ("main",)),
        AptSource("https://download.example/linux/debian", "bookworm", ("stable",)),
        AptSource("cdrom:[Debian 12]/debian", "bookworm", ("main",)),
        AptSource("http://mirror.example/debian", "bookworm", ("main",)),
        AptSource("http://mirror.example/debian-security", "bookworm-security", ("main",)),
    )
    assert debian_mirrors(sources) == (
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    )


def test_the_site_outranks_the_controller() -> None:
    site = Mirrors(
        debian="http://site.example/debian",
        debian_security="http://site.example/security",
        python_index="https://site.example/simple",
        wheels=(),
        builds="/srv/builds",
        check_valid_until=True,
    )
    assert resolve(site) == site


def test_without_any_debian_source_the_site_must_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "read_apt_sources", lambda _directory: iter(()))
    with pytest.raises(BadInputError, match=r"mirrors\.debian"):
        resolve(Mirrors())


def test_security_is_expected_beside_a_full_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "read_apt_sources", lambda _directory: iter(()))
    found = resolve(Mirrors(debian="http://site.example/debian/", python_index="https://site.example/simple"))
    assert found.debian_security == "http://site.example/debian-security"


def test_python_index_follows_pips_order(tmp_path: Path) -> None:
    user, system, broken = tmp_path / "user.conf", tmp_path / "system.conf", tmp_path / "broken.conf"
    user.write_text("[global]\nindex-url = https://user.example/simple\n")
    system.write_text("[install]\nindex-url = https://system.example/simple\n")
    broken.write_text("no section\n\xff")
    files = (tmp_path / "absent.conf", broken, user, system)
    assert python_index({"PIP_INDEX_URL": "https://env.example/simple"}, files) == "https://env.example/simple"
    assert python_index({"UV_INDEX_URL": "https://uv.example/simple"}, files) == "https://user.example/simple"
    assert python_index({}, (system,)) == "https://system.example/simple"
    assert python_index({"UV_DEFAULT_INDEX": "corp=https://uv.example/s?a=b"}, ()) == "https://uv.example/s?a=b"
    assert python_index({}, ()) is None


def test_wheels_lie_where_pip_looks_for_them(tmp_path: Path) -> None:
    user = tmp_path / "user.conf"
    user.write_text("[global]\nfind-links =\n  file:///srv/wheels\n  https://wheels.example/cpu/\n")
    assert find_links({}, (user,)) == ("/srv/wheels", "https://wheels.example/cpu/")
    assert find_links({"PIP_FIND_LINKS": "/opt/a /opt/b"}, (user,)) == ("/opt/a", "/opt/b")
    assert find_links({}, ()) == ()


def test_pips_own_index_is_read_from_the_pip_at_hand() -> None:
    index = mirrors._builtin_index()
    assert index is not None
    assert index.startswith("https://")
    assert index.endswith("/simple")
