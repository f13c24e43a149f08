from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.errors import LabError
from boxwright.lab.commands import locked, remove_tree, run


def test_a_failing_program_is_quoted_with_its_last_words() -> None:
    with pytest.raises(LabError, match="status 3") as failed:
        run(["sh", "-c", "seq 100; echo reason >&2; exit 3"])
    assert failed.value.output.splitlines()[-1] == "reason"
    assert len(failed.value.output.splitlines()) == 10


def test_a_missing_and_a_slow_program_are_told_apart() -> None:
    with pytest.raises(LabError, match="not installed"):
        run(["boxwright-has-no-such-program"])
    with pytest.raises(LabError, match="did not end"):
        run(["sleep", "5"], timeout=0.1)


def test_a_lock_outlives_its_holder_as_long_as_the_program_that_got_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os\n"
        "from pathlib import Path\n"
        "from boxwright.lab.commands import locked\n"
        "with locked(Path(sys.argv[1])) as lock:\n"
        "    child = subprocess.Popen(['sleep', '0.7'], pass_fds=[lock])\n"
        "    os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=True, cwd=Path(__file__).parents[3])
    busy = subprocess.run(["flock", "--nonblock", tmp_path / "lock", "true"], check=False)
    assert busy.returncode != 0
    told: list[str] = []
    with locked(tmp_path / "lock", told.append):
        assert len(told) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_nothing_is_deleted_through_a_mount(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    precious.mkdir()
    (precious / "file").write_text("kept")
    subprocess.run(["mount", "--bind", precious, folder / "below"], check=True)
    try:
        with pytest.raises(LabError, match="still mounted"):
            remove_tree(folder)
    finally:
        subprocess.run(["umount", folder / "below"], check=True)
    assert (precious / "file").read_text() == "kept"
    remove_tree(folder)
    assert not folder.exists()
