"""What a batch still has to get, and from where: the controller has a file only where the deploy looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.model.weights import WantedBuild, WantedFile
from boxwright.planning.transfers import Transfer, missing_bytes


def a_file(name: str, size: int, path: str | None = None) -> WantedFile:
    return WantedFile(name=name, path=path, bytes=size, sha256="0" * 64, urls=(), python_packages=())


BUILD = WantedBuild(
    name="m/q4",
    directory="/srv/models/m/q4",
    files=(a_file("a.gguf", 100), a_file("b.gguf", 50, "deep/b-on-hub.gguf")),
)


def test_a_bare_machine_lacks_everything() -> None:
    assert missing_bytes([BUILD], {}, ()) == (0, 150)


def test_what_is_there_is_not_sent_again_and_halves_go_on() -> None:
    there = {"/srv/models/m/q4/a.gguf": 100, "/srv/models/m/q4/b.gguf.part": 20}
    assert missing_bytes([BUILD], there, ()) == (0, 30)
    assert missing_bytes([BUILD], {"/srv/models/m/q4/a.gguf": 99}, ()) == (0, 150)


@pytest.mark.parametrize("place", ["m/q4/b.gguf", "deep/b-on-hub.gguf", "b.gguf"])
def test_the_controller_has_a_file_where_the_deploy_looks(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"x" * 50)
    assert missing_bytes([BUILD], {}, (str(tmp_path),)) == (50, 100)
    (tmp_path / place).write_bytes(b"x" * 49)
    assert missing_bytes([BUILD], {}, (str(tmp_path),)) == (0, 150)


def test_both_look_in_the_same_places(tmp_path: Path) -> None:
    """The deploy has a list of its own, as it must run without Boxwright."""
    from deploys.operations.models import _places

    file = BUILD.files[1]
    for place in _places(str(tmp_path), ("m", "q4"), file.model_dump()):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * 50)
        assert missing_bytes([BUILD], {}, (str(tmp_path),)) == (50, 100)
        place.unlink()


def test_how_long_a_line_takes() -> None:
    assert Transfer("the hubs", 30, 30 * 40_000_000_000, 1000, "").seconds == pytest.approx(9600)
