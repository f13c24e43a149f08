"""The list of an image's files, and the search for what must be in none of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError
from boxwright.factory.image.listing import HEAD, listing


def test_a_path_is_a_line_with_all_that_a_person_compares(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/odd\nname").write_bytes(b"x")
    (tmp_path / "a").symlink_to("b/c")
    lines = listing(tmp_path).removeprefix(HEAD).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["/", "/a", "/b", "/b/odd\\nname"]
    assert lines[1].split("\t")[-1] == "-> b/c"
    assert lines[3].split("\t")[3] == "1"
    assert lines[3].split("\t")[-1] == hashlib.sha256(b"x").hexdigest()


def test_the_order_of_writing_does_not_show(tmp_path: Path) -> None:
    names = [f"file{number}" for number in range(30)]
    for folder, order in (("one", names), ("two", names[::-1])):
        (tmp_path / folder).mkdir()
        for name in order:
            (tmp_path / folder / name).write_text(name)
    one, two = (
        [
            [field for number, field in enumerate(line.split("\t")) if number != 4]
            for line in listing(folder).split("\n")
        ]
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


@pytest.mark.parametrize("at", [0, 100, (1 << 20) - 3, (1 << 20), (2 << 20) - 1])
def test_a_forbidden_word_is_found_wherever_it_stands(tmp_path: Path, at: int) -> None:
    data = bytearray(b"." * (3 << 20))
    data[at : at + 6] = b"secret"
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(BoxwrightError, match="left in it") as raised:
        listing(tmp_path, [b"secret"])
    assert raised.value.where == "/file"
    assert "secret" not in raised.value.message + raised.value.hint
    assert listing(tmp_path, [b"secrets"])
