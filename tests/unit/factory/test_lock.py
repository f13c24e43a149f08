"""Lock files: stable, sorted, without addresses, and closed to names that are more than names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.factory.lock import Artefact, Lock, parse_lock, read_lock


def artefact(name: str, **changes: Any) -> Artefact:
    fields = {
        "kind": "wheel",
        "name": name,
        "version": "1.0",
        "size": 3,
        "sha256": (name.encode().hex() + "0" * 64)[:64],
        "file": f"{name}-1.0-py3-none-any.whl",
        "used_by": ("open_webui",),
    }
    return Artefact.model_validate(fields | changes)


def lock(*artefacts: Artefact) -> Lock:
    return Lock(profile="lab", distribution="debian-12", artefacts=artefacts)


def test_the_order_in_which_artefacts_were_found_does_not_show() -> None:
    one, two = artefact("alpha"), artefact("beta")
    assert lock(one, two).text == lock(two, one).text
    assert parse_lock(lock(two, one).text, "x").text == lock(one, two).text


def test_an_artefact_is_one_line_so_that_a_plain_diff_tells_what_changed() -> None:
    lines = lock(artefact("alpha"), artefact("beta")).text.splitlines()
    assert [line for line in lines if '"name": "alpha"' in line] == [lines[2]]


@pytest.mark.parametrize(
    "file", ["../x.whl", "a/b.whl", "", ".hidden", "-rf", "x\n.whl", "x y.whl", "x?.whl", "a" * 300]
)
def test_a_file_name_that_leads_elsewhere_is_refused(file: str) -> None:
    text = lock(artefact("alpha")).text.replace("alpha-1.0-py3-none-any.whl", file.replace("\n", "\\n"))
    with pytest.raises(BadInputError, match=r"artefacts\.0\.file"):
        parse_lock(text, "x")


@pytest.mark.parametrize("path", ["/etc/passwd", "pool/../../x", "pool//x", "http://a/b"])
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        artefact("alpha", kind="debian", archive="debian", path=path)


def test_the_same_bytes_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="same bytes twice"):
        lock(artefact("alpha"), artefact("beta", sha256=artefact("alpha").sha256))


def test_what_is_no_lock_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(BadInputError, match=r"./invoke bundle\.lock"):
        read_lock(path)
    path.write_text('{"format": 2}')
    with pytest.raises(BadInputError, match="no lock that this Boxwright reads") as caught:
        read_lock(path)
    assert caught.value.where == str(path)
