"""Weights on a box: told, and removed, by the program that a box runs, on real folders."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError
from boxwright.model.catalogues import load_models
from boxwright.transport.ssh import Endpoint
from boxwright.weights.boxes import WeightsOnBox, garbage, look, remove

ENDPOINT = Endpoint("box-1", "192.0.2.1", 22, "root", None, None, 5)
CATALOGUE = load_models()


@pytest.fixture
def models(tmp_path: Path, stand_in: Callable[[str, str], None], own_places: Path) -> Path:
    """A folder of models, on a box that is this machine."""
    stand_in("ssh", 'eval "exec ${!#}"')
    root = tmp_path / "models"
    for name, files in {
        "smollm2-135m-instruct/q4_1": {"SmolLM2-135M-Instruct.Q4_1.gguf": 98362432, ".fetch.lock": 0},
        "deepseek-r1/ud-iq1_s": {"a.gguf.part": 3_000_000, ".fetch.lock": 0},
        "old-model/q8": {"old.gguf": 5_000_000, ".fetch.lock": 0, "sub/config.json": 2},
        "somebodys/own": {"precious.gguf": 7},
    }.items():
        for file, size in files.items():
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                stream.truncate(size)
    converted = root / "smollm2-135m-instruct/q4_1-bf16"
    converted.mkdir()
    (converted / ".converted").write_text("abc 1\n")
    return root


def named(there: WeightsOnBox) -> list[str]:
    return [build.name for build in there.builds]


def test_a_box_tells_what_lies_on_it_and_how_far_it_is(models: Path) -> None:
    there = look(ENDPOINT, str(models))
    states = {build.name: build.state(CATALOGUE) for build in there.builds}
    assert states == {
        "deepseek-r1/ud-iq1_s": "no digests to hold it against",
        "old-model/q8": "not in the catalogue",
        "smollm2-135m-instruct/q4_1": "complete",
        "smollm2-135m-instruct/q4_1-bf16": "made on the box",
    }
    sizes = {build.name: (build.bytes, build.partial_bytes) for build in there.builds}
    assert sizes["deepseek-r1/ud-iq1_s"] == (3_000_000, 3_000_000)
    assert there.free_bytes > 0
    (models / "smollm2-135m-instruct/q4_1/SmolLM2-135M-Instruct.Q4_1.gguf").unlink()
    (build,) = [one for one in look(ENDPOINT, str(models)).builds if one.name == "smollm2-135m-instruct/q4_1"]
    assert build.state(CATALOGUE) == "0 of 1 files, 0.0 GB on their way"


def test_garbage_is_what_nobody_keeps_nor_was_made_of_it(models: Path) -> None:
    there = look(ENDPOINT, str(models))
    kept = ["smollm2-135m-instruct/q4_1"]
    assert [build.name for build in garbage(there, kept)] == ["deepseek-r1/ud-iq1_s", "old-model/q8"]
    assert len(garbage(there, [])) == 4


def test_what_is_removed_is_gone_with_its_folder_and_nothing_else_is(models: Path) -> None:
    after = remove(ENDPOINT, str(models), ["old-model/q8", "deepseek-r1/ud-iq1_s", "somebodys/own", "../../etc"])
    assert after.refused == {}
    assert after.freed_bytes == 8_000_002
    assert named(after) == ["smollm2-135m-instruct/q4_1", "smollm2-135m-instruct/q4_1-bf16"]
    assert sorted(path.name for path in models.iterdir()) == ["smollm2-135m-instruct", "somebodys"]
    assert (models / "somebodys/own/precious.gguf").exists()


def test_a_link_is_not_followed(models: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/.fetch.lock").touch()
    (models / "old-model/link").symlink_to(tmp_path / "elsewhere")
    assert "old-model/link" not in named(look(ENDPOINT, str(models)))
    remove(ENDPOINT, str(models), ["old-model/link"])
    assert (tmp_path / "elsewhere/.fetch.lock").exists()


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_what_a_process_has_open_stays(how: str, models: Path) -> None:
    file = models / "old-model/q8/old.gguf"
    mapped = "import mmap; m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); f.close()" if how == "mapped" else ""
    program = (
        f"f = open({str(file)!r}, 'rb'); {mapped or 'pass'}\nprint('ready', flush=True)\nimport time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as user:
        try:
            assert user.stdout
            assert user.stdout.readline() == b"ready\n"
            after = remove(ENDPOINT, str(models), ["old-model/q8"])
        finally:
            user.kill()
    assert str(user.pid) in after.refused["old-model/q8"]
    assert after.freed_bytes == 0
    assert file.exists()
    assert remove(ENDPOINT, str(models), ["old-model/q8"]).freed_bytes == 5_000_002


def test_what_is_being_fetched_stays(models: Path) -> None:
    lock = models / "deepseek-r1/ud-iq1_s/.fetch.lock"
    with subprocess.Popen(["flock", str(lock), "sleep", "60"]) as fetcher:
        try:
            deadline = time.monotonic() + 10
            while subprocess.run(["flock", "-n", str(lock), "true"], check=False).returncode == 0:
                assert time.monotonic() < deadline
            after = remove(ENDPOINT, str(models), ["deepseek-r1/ud-iq1_s"])
        finally:
            subprocess.run(["pkill", "-P", str(fetcher.pid)], check=False)
            fetcher.kill()
    assert "deepseek-r1/ud-iq1_s" in after.refused
    assert lock.exists()


def test_a_box_without_models_has_none(models: Path, tmp_path: Path) -> None:
    assert look(ENDPOINT, str(tmp_path / "none")).builds == ()


def test_a_box_that_tells_nonsense_is_an_error(
    tmp_path: Path, stand_in: Callable[[str, str], None], own_places: Path
) -> None:
    stand_in("ssh", "echo '[]'")
    with pytest.raises(BoxwrightError, match="cannot be read"):
        look(ENDPOINT, str(tmp_path))
