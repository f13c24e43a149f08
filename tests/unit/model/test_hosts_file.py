"""Hosts from a table: what a spreadsheet saves is read, and every mistake is told by file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_site
from boxwright.model.site import Site

GOOD = (
    "name,address,port,serial,server_name,disks.data\n"
    "box-1,192.0.2.11,2222,SN 1,a.example,/dev/mapper/a\nbox-2,192.0.2.12\n"
)


def site_with(folder: Path, table: str | bytes, name: str = "boxes.csv", further: str = "") -> Site:
    (folder / name).write_bytes(table.encode() if isinstance(table, str) else table)
    (folder / "line.yml").write_text(f"name: line\nhosts_file: {name}\n{further}")
    return load_site(str(folder / "line.yml"))


def test_a_table_is_read_as_yaml_would_be(tmp_path: Path) -> None:
    one, two = site_with(tmp_path, GOOD).hosts
    assert (one.name, one.address, one.port, one.serial, one.server_name) == (
        "box-1",
        "192.0.2.11",
        2222,
        "SN 1",
        "a.example",
    )
    assert one.disks == {"data": "/dev/mapper/a"}
    assert (two.name, two.port, two.serial, two.disks) == ("box-2", None, None, {})
    rows = "".join(f"  - {host.model_dump(exclude_none=True, exclude_defaults=True)}\n" for host in (one, two))
    assert site_with(tmp_path, f"hosts:\n{rows}", "boxes.yml").hosts == (one, two)


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffName;Address;Serial\r\nbox-1;192.0.2.11;SN-1\r\n;;\r\n\r\n",  # Excel, where the comma is a decimal sign
        "name\taddress\tserial\nbox-1\t192.0.2.11\tSN-1\n",
        '# by Ada\n"name","address","serial"\n"box-1","192.0.2.11","SN-1"\n',
        "name, address, serial\n box-1 , 192.0.2.11,SN-1",
    ],
)
def test_as_spreadsheets_save_it(tmp_path: Path, table: str) -> None:
    (host,) = site_with(tmp_path, table).hosts
    assert (host.name, host.address, host.serial) == ("box-1", "192.0.2.11", "SN-1")


@pytest.mark.parametrize(
    ("table", "place", "told"),
    [
        ("name,adress\nbox-1,192.0.2.11\n", "1:6", "unknown column 'adress'. Did you mean 'address'?"),
        ("name,address,name\n", "1", "no hosts"),
        ("name,address,name\nbox-1,192.0.2.11,x\n", "1:14", "'name' stands twice"),
        ("address\n192.0.2.11\n", "1:1", "column 'name' is missing"),
        ("name,address\nbox-1,192.0.2.11,what\n", "2:18", "a cell without a column"),
        ("name,address\n\nBox_1,192.0.2.11\n", "3:1", "lower-case letters"),
        ("name,address,port\nbox-1,192.0.2.11,22\nbox-2,192.0.2.12,ssh\n", "3:18", "port"),
        ('name,address\n"box-1,192.0.2.11\n', "2:1", "quote is not closed"),
        ('name,address\n"box-1"x,192.0.2.11\n', "2:8", "behind a closing quote"),
        ("name,address\nbox-1,a b\n", "2:7", "neither an IP address nor a DNS name"),
        ("name,address\nbox-1,192.0.2.11\nBOX-1,192.0.2.12\n", "3:1", "'BOX-1' stands in line 2 already"),
        ("name,address,serial\na,192.0.2.1,S1\nb,192.0.2.2,s1\n", "3:13", "serial: 's1' stands in line 2"),
        ("name,address,serial\na,192.0.2.1,<b>\n", "2:13", "a serial number is 1 to 64 letters"),
        ("name,address,disks.data\na,192.0.2.1,/dev/sda\n", "2:13", "stable across boots, such as /dev/disk/by-id/"),
        ("name,address\na,192.0.2.1\nb,192.0.2.256\n", "3:3", "four numbers from 0 to 255"),
        ("name,address\na,192.0.2.1\nb,192.0.2.1\n", "3:3", "a and b share the address 192.0.2.1, port 22"),
        ("name,port,address\na,,192.0.2.1\nb,23,192.0.2.1\nc,22,192.0.2.1\n", "4:6", "a and c share the address"),
        ("name,address,serial\na,192.0.2.1,S1\nb,,S2\n", "3:1", "no address for b"),
        ("", "1", "the file is empty"),
        (b"name,address\nbox-1,\xff\n", "2", "not UTF-8"),
        (b"name,address\0\nbox-1,x\n", "1:6", "unknown column"),
    ],
)
def test_a_mistake_is_told_by_its_place(tmp_path: Path, table: str | bytes, place: str, told: str) -> None:
    with pytest.raises(BadInputError) as refused:
        site_with(tmp_path, table)
    assert told in refused.value.message
    assert refused.value.where == f"{tmp_path / 'boxes.csv'}:{place}"


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as refused:
        site_with(tmp_path, "name,address,port\nbox-1,192.0.2.11,0\nbox-2,a b,22\n")
    assert f"{tmp_path / 'boxes.csv'}:3:7" in str(refused.value)
    assert "at least 1 item" not in str(refused.value)  # a list without what is wrong in it is no further mistake


def test_what_is_wrong_with_the_site_is_told_of_the_site(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="unknown key 'sssh'") as refused:
        site_with(tmp_path, GOOD, further="sssh: {}\n")
    assert refused.value.where == f"{tmp_path / 'line.yml'}:3:1"
    with pytest.raises(BadInputError, match="hosts, or a hosts_file, not both") as refused:
        site_with(tmp_path, GOOD, further="hosts: []\n")
    assert refused.value.where == f"{tmp_path / 'line.yml'}:2:1"


@pytest.mark.parametrize("named", ["boxes.txt", "[a.csv]", "1"])
def test_what_is_no_hosts_file(tmp_path: Path, named: str) -> None:
    (tmp_path / "line.yml").write_text(f"name: line\nhosts_file: {named}\n")
    with pytest.raises(BadInputError, match=r"is no \.csv and no \.yml file"):
        load_site(str(tmp_path / "line.yml"))


def test_a_missing_file_and_a_yaml_with_more_than_hosts(tmp_path: Path) -> None:
    (tmp_path / "line.yml").write_text("name: line\nhosts_file: gone.csv\n")
    with pytest.raises(BadInputError, match=r"hosts_file: there is no file .*gone\.csv") as refused:
        load_site(str(tmp_path / "line.yml"))
    assert refused.value.where == f"{tmp_path / 'line.yml'}:2:1"  # the line that names it
    with pytest.raises(BadInputError, match=r"unknown key 'host'\. Did you mean 'hosts'"):
        site_with(tmp_path, "host: []\n", "boxes.yml")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.text(alphabet='nameddrs,;\t"\n\r12.-# =\0é', max_size=200),
        st.lists(st.text(max_size=12), min_size=1, max_size=8).map(
            lambda cells: f"name,address,serial,port\n{','.join(cells)}"
        ),
    )
)
def test_any_text_is_hosts_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        site = site_with(folder, text.encode("utf-8", "surrogateescape"))
    except BadInputError as refused:
        assert str(folder) in refused.where  # noqa: PT017  any text: a refusal is one of two right ends
        return
    assert all(host.name and host.address for host in site.hosts)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_hosts_or_are_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    with pytest.raises(BadInputError):
        site_with(tmp_path_factory.mktemp("raw"), b"name,port\n" + raw)


CELLS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_is_quoted_comes_back(cells: list[str], separator: str) -> None:
    from boxwright.model.hosts_file import _cells

    line = separator.join('"' + cell.replace('"', '""') + '"' for cell in cells)
    found = list(_cells(Path("boxes.csv"), 1, line))
    assert [cell.text for cell in found] == [cell.strip() for cell in cells]
