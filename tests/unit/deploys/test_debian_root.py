"""The folder of Debian packages, when power is cut in the middle: whole or not there, and never with a rest."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "templates/debian_root/install_debian_root.py"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, whose packages are there without any apt."""
    spec = importlib.util.spec_from_file_location("install_debian_root", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def build(work: Path, _request: dict[str, Any]) -> tuple[Path, str]:
        (work / "root").mkdir()
        (work / "root/MANIFEST").write_text("tool=1-1 digest\n")
        (work / "cache").write_text("packages")
        return work / "root", "1-1"

    monkeypatch.setattr(module, "_build", build)
    return module


def test_nothing_but_the_folder_is_left_when_it_begins_to_count(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    switch = program._switch

    def look(link: Path, version: str) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        switch(link, version)

    monkeypatch.setattr(program, "_switch", look)
    assert program.install({"destination": str(tmp_path)}) == "1-1"
    assert sorted(seen) == [".lock", "1-1"]
    assert (tmp_path / "current/MANIFEST").exists()


def test_what_was_not_yet_pointed_at_is_made_anew(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "1-1").mkdir()
    (tmp_path / "1-1/half").touch()
    (tmp_path / ".work/root").mkdir(parents=True)
    program.install({"destination": str(tmp_path)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "1-1", "current"]
    assert [path.name for path in (tmp_path / "current").iterdir()] == ["MANIFEST"]
