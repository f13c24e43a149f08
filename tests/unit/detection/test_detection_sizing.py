"""A machine that was looked at, as `./invoke fit --box` reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from detection_answers import CATALOGUE, machine

from boxwright.errors import BadInputError
from boxwright.sizing.choice import machine_meant


def written(path: Path, *lines: object) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_what_detect_found_is_sized(tmp_path: Path) -> None:
    found = {"type": "machine", **machine().model_dump(mode="json")}
    finding = {"type": "finding", "host": "box", "text": "a finding beside it"}
    sized = machine_meant("", "", 1, written(tmp_path / "found.json", finding, found), CATALOGUE)
    assert sized.name == "box"
    assert sized.card
    assert (sized.cards, sized.card.name) == (8, "GeForce RTX 4090")
    assert sized.host.numa_nodes == 2
    assert sized.card.bandwidth  # the catalogue's, by the card's id


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((), "it tells of 0 machines"),
        (({"type": "machine", "host": "a"},), "Field required"),
        (({"type": "machine"}, {"type": "machine"}), "it tells of 2 machines"),
        ((["a", "list"],), "it tells of 0 machines"),
    ],
)
def test_what_tells_of_no_machine_is_refused(tmp_path: Path, lines: tuple[object, ...], problem: str) -> None:
    with pytest.raises(BadInputError, match=problem) as caught:
        machine_meant("", "", 1, written(tmp_path / "found.json", *lines), CATALOGUE)
    assert "detect --host" in caught.value.hint


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    for content in ("no JSON", None):
        if content:
            path.write_text(content)
        else:
            path.unlink()
        with pytest.raises(BadInputError, match=r"found\.json"):
            machine_meant("", "", 1, str(path), CATALOGUE)
