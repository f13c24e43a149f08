"""Pinned host keys: OpenSSH's own programs read what is written, and what others wrote stays."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.site import Host, Site, Ssh
from boxwright.transport.pins import Pins, pins_place, trusted
from boxwright.transport.ssh import Endpoint

KEY = ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIJ1EPHu8kQDXH0Z1mQz7dJ2KQWhW7hMZ2rVb4jJQYw3c")
OTHER = ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")


def found_by_openssh(path: Path, name: str) -> str:
    argv = ["ssh-keygen", "-F", name, "-f", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [
        ("192.0.2.7", 22, "192.0.2.7"),
        ("192.0.2.7", 2222, "[192.0.2.7]:2222"),
        ("2001:db8::7", 22, "2001:db8::7"),
        ("2001:db8::7", 2222, "[2001:db8::7]:2222"),
        ("Box-1.Example", 22, "box-1.example"),
    ],
)
def test_openssh_finds_what_was_pinned(tmp_path: Path, address: str, port: int, name: str) -> None:
    pins = Pins(tmp_path / "deep" / "known_hosts")
    assert pins.of(address, port) == []
    pins.pin(address, port, [KEY])
    assert pins.of(address, port) == [KEY]
    assert KEY[1] in found_by_openssh(pins.path, name)
    assert pins.path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in pins.path.parent.iterdir()] == ["known_hosts"]


def test_one_place_is_not_another(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "known_hosts")
    pins.pin("192.0.2.7", 22, [KEY])
    assert pins.of("192.0.2.7", 2222) == []
    assert pins.of("192.0.2.70", 22) == []


def test_a_new_pin_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    others = [
        "# by hand",
        f"alpha,192.0.2.8 {' '.join(OTHER)} root@alpha",
        "",
        f"@cert-authority *.example {OTHER[1]} x",
    ]
    path.write_text("\n".join([*others[:2], f"beta,192.0.2.7 {' '.join(OTHER)}", *others[2:]]) + "\n")
    Pins(path).pin("192.0.2.7", 22, [KEY])
    lines = path.read_text().splitlines()
    assert [line for line in lines if line in others] == [line for line in others if line]
    assert f"beta {' '.join(OTHER)}" in lines  # the other name of that line keeps its key
    assert Pins(path).of("192.0.2.7", 22) == [KEY]


def test_a_hashed_line_is_found_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"192.0.2.7 {' '.join(OTHER)}\n[192.0.2.7]:2222 {' '.join(OTHER)}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(path)], capture_output=True, check=True)
    assert "192.0.2.7" not in path.read_text()
    pins = Pins(path)
    assert pins.of("192.0.2.7", 22) == [OTHER]
    pins.pin("192.0.2.7", 22, [KEY])
    assert pins.of("192.0.2.7", 22) == [KEY]
    assert pins.of("192.0.2.7", 2222) == [OTHER]


def test_a_pattern_is_looked_up_and_is_not_ours_to_change(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"!192.0.2.9,192.0.2.* {' '.join(OTHER)}\n")
    pins = Pins(path)
    assert pins.of("192.0.2.7", 22) == [OTHER]
    assert pins.of("192.0.2.9", 22) == []
    with pytest.raises(BadInputError, match="by the pattern") as refused:
        pins.pin("192.0.2.7", 22, [KEY])
    assert refused.value.where == f"{path}:1"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "known_hosts").symlink_to("real")
    Pins(tmp_path / "known_hosts").pin("192.0.2.7", 22, [KEY])
    assert (tmp_path / "known_hosts").is_symlink()
    assert KEY[1] in (tmp_path / "real").read_text()


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200))
def test_whatever_else_stands_there_stays(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("pins") / "known_hosts"
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    pins = Pins(path)
    before = Counter(line for line in pins._lines() if line)
    if pins.of("192.0.2.7", 22):
        return
    pins.pin("192.0.2.7", 22, [KEY])
    assert pins.of("192.0.2.7", 22) == [KEY]
    assert before <= Counter(pins._lines())


def test_a_site_trusts_its_own_file_once_it_is_enrolled(own_places: Path) -> None:
    site = Site(name="line-1", hosts=(Host(name="a", address="192.0.2.7"),))
    assert trusted(site) is None  # ssh's own file, as ever
    Pins(pins_place(site)).pin("192.0.2.7", 22, [KEY])
    assert trusted(site) == own_places / "sites" / "line-1" / "known_hosts"
    options = Endpoint.of(site, site.hosts[0]).options()
    assert f"UserKnownHostsFile={trusted(site)}" in options
    assert "GlobalKnownHostsFile=/dev/null" in options
    named = site.model_copy(update={"ssh": Ssh(known_hosts="/keys/of/ours")})
    assert trusted(named) == Path("/keys/of/ours")
