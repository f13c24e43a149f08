"""What a batch still has to get, and from where: the controller has a file only where the deploy looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from boxwright.model.weights import WantedBuild, WantedFile
from boxwright.planning.handing_on import LackedFile, lacked_files
from boxwright.planning.transfers import Transfer


def a_file(name: str, size: int, path: str | None = None) -> WantedFile:
    return WantedFile(name=name, path=path, bytes=size, sha256="0" * 64, urls=(), python_packages=())


BUILD = WantedBuild(
    name="m/q4",
    directory="/srv/models/m/q4",
    files=(a_file("a.gguf", 100), a_file("b.gguf", 50, "deep/b-on-hub.gguf")),
)


def missing_bytes(there: Mapping[str, int], folders: tuple[str, ...]) -> tuple[int, int]:
    """What one machine still has to get: from the controller, and from hubs."""
    lacked = lacked_files([BUILD], [there], folders)
    return tuple(sum(one.left for one in lacked if one.on_controller is near) for near in (True, False))


def test_a_bare_machine_lacks_everything() -> None:
    assert missing_bytes({}, ()) == (0, 150)


def test_what_is_there_is_not_sent_again_and_halves_go_on() -> None:
    there = {"/srv/models/m/q4/a.gguf": 100, "/srv/models/m/q4/b.gguf.part": 20}
    assert missing_bytes(there, ()) == (0, 30)
    assert missing_bytes({"/srv/models/m/q4/a.gguf": 99}, ()) == (0, 150)


@pytest.mark.parametrize("place", ["m/q4/b.gguf", "deep/b-on-hub.gguf", "b.gguf"])
def test_the_controller_has_a_file_where_the_deploy_looks(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"x" * 50)
    assert missing_bytes({}, (str(tmp_path),)) == (50, 100)
    (tmp_path / place).write_bytes(b"x" * 49)
    assert missing_bytes({}, (str(tmp_path),)) == (0, 150)


def test_both_look_in_the_same_places(tmp_path: Path) -> None:
    """The deploy has a list of its own, as it must run without Boxwright."""
    from deploys.operations.sending import places

    file = BUILD.files[1]
    for place in places(str(tmp_path), ("m", "q4"), file.model_dump()):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * 50)
        assert missing_bytes({}, (str(tmp_path),)) == (50, 100)
        place.unlink()


def test_who_lacks_a_file_and_who_has_it() -> None:
    whole, half = {"/srv/models/m/q4/a.gguf": 100}, {"/srv/models/m/q4/a.gguf.part": 40}
    first, second = lacked_files([BUILD], [whole, {}, half], ())
    assert first == LackedFile("/srv/models/m/q4/a.gguf", 100, frozenset({1, 2}), 160, 1, False)
    assert (second.machines, second.left, second.holders) == ({0, 1, 2}, 150, 0)


def test_how_long_a_line_takes() -> None:
    assert Transfer("the hubs", 30, 30 * 40_000_000_000, 1000, "").seconds == pytest.approx(9600)
