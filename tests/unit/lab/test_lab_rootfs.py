from __future__ import annotations

from dataclasses import replace

from boxwright.lab.proxy import configuration
from boxwright.lab.rootfs import recipe
from boxwright.model.site import Mirrors

MIRRORS = Mirrors(
    debian="http://mirror.example/debian",
    debian_security="http://mirror.example/debian-security",
    python_index="https://mirror.example/simple",
)


def test_the_cache_is_keyed_by_everything_that_decides_the_content() -> None:
    first = recipe("debian-12", MIRRORS)
    others = [
        recipe("debian-13", MIRRORS),
        recipe("debian-12", MIRRORS.model_copy(update={"debian": "http://other.example/debian"})),
        replace(first, packages=(*first.packages, "vim")),
    ]
    assert first.digest == recipe("debian-12", MIRRORS).digest
    assert len({first.digest, *(other.digest for other in others)}) == 4


def test_sources_name_the_release_its_updates_and_its_security() -> None:
    lines = recipe("debian-13", MIRRORS).sources.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["http://mirror.example/debian", "trixie"],
        ["http://mirror.example/debian", "trixie-updates"],
        ["http://mirror.example/debian-security", "trixie-security"],
    ]


def test_the_proxy_serves_the_labs_subnet_only() -> None:
    lines = configuration("10.83.4.1", "10.83.4.0/24").splitlines()
    assert "Listen 10.83.4.1" in lines
    assert [line for line in lines if line.startswith(("Allow", "ConnectPort"))] == [
        "Allow 10.83.4.0/24",
        "ConnectPort 443",
    ]
