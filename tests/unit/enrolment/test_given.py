"""Fingerprints that a person gives beforehand: read from arguments and files, and refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.enrolment.given import read_given
from boxwright.errors import BadInputError
from boxwright.model.site import Host

HOSTS = [Host(name="line-1", address="192.0.2.11"), Host(name="line-2", address="192.0.2.12")]
ONE = "SHA256:" + "a" * 42 + "+"
TWO = "SHA256:" + "b" * 42 + "/"


def test_by_arguments() -> None:
    assert read_given("", HOSTS) == {}
    assert read_given(f"line-1={ONE}", HOSTS) == {"line-1": {ONE}}
    assert read_given(f"line-1={ONE}, 192.0.2.12={TWO},line-1={TWO}", HOSTS) == {"line-1": {ONE, TWO}, "line-2": {TWO}}


def test_by_a_file_of_lines_from_consoles(tmp_path: Path) -> None:
    path = tmp_path / "consoles.txt"
    path.write_text(
        f"# copied from the serial consoles\n\nline-1 {ONE}\n"
        f"[  12.3] boxwright: 192.0.2.12 is 256 {TWO} root@image (ED25519)\n"
    )
    assert read_given(str(path), HOSTS) == {"line-1": {ONE}, "line-2": {TWO}}


@pytest.mark.parametrize("line", ["SN-2: 256 {}", "[SN-2] {} (ED25519)", 'box "SN-2" {}', "SN 2 login: {}"])
def test_by_a_serial_number_as_a_prompt_has_it(line: str) -> None:
    serial = "SN 2" if "SN 2" in line else "SN-2"
    hosts = [Host(name="b-1", address="192.0.2.1", serial="SN-1"), Host(name="b-2", address="::2", serial=serial)]
    assert read_given(line.format(ONE), hosts) == {"b-2": {ONE}}
    assert read_given(f"::2 {ONE}", hosts) == {"b-2": {ONE}}


def test_by_serial_number_and_never_by_an_address_of_two() -> None:
    behind_one = [Host(name=f"b-{n}", address="192.0.2.1", port=2200 + n, serial=f"SN-{n}") for n in (1, 2)]
    assert read_given(f"SN-2={ONE}", behind_one) == {"b-2": {ONE}}
    with pytest.raises(BadInputError, match="no host of the site"):
        read_given(f"192.0.2.1={ONE}", behind_one)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("line-1 SHA256:short", "no SHA-256 fingerprint"),
        ("line-1 SHA256:" + "a" * 44, "no SHA-256 fingerprint"),
        (f"line-1 {ONE} {TWO}", "two fingerprints"),
        (f"line-1 line-2 {ONE}", "two hosts"),
        (f"line-11 {ONE}", r"Did you mean 'line-1'\?"),
        (ONE, "no host of the site"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "consoles.txt"
    path.write_text(f"line-1 {ONE}\n{line}\n")
    with pytest.raises(BadInputError, match=told) as refused:
        read_given(str(path), HOSTS)
    assert refused.value.where == f"{path}:2"


def test_neither_a_fingerprint_nor_a_file() -> None:
    with pytest.raises(BadInputError, match="no file that can be read") as refused:
        read_given("line-1=MD5:aa:bb", HOSTS)
    assert "ssh-keygen -lf" in refused.value.hint


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_given(text, HOSTS)
    except BadInputError:
        return
    assert set(found) <= {"line-1", "line-2"}
