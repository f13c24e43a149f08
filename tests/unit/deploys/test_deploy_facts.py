"""What the deploys' facts make of answers, and that asking a bare host is no error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.facts.chat_page import AccountExists
from deploys.facts.files import FileState, ModelFileState, UnpackedVersion
from deploys.facts.machine import UsableProcessors
from deploys.facts.services import ServiceOnBox, ServiceState


def answer(command: str) -> list[str]:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_files_state_is_read_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    path.write_text("x\n")
    path.chmod(0o640)
    state = FileState().process(answer(FileState().command(str(path))))
    assert state
    assert (state.mode, state.sha256[:8]) == ("640", "73cb3858")


@pytest.mark.parametrize("command", [FileState().command, ModelFileState().command])
def test_an_absent_file_is_no_error(command: object, tmp_path: Path) -> None:
    assert answer(command(str(tmp_path / "none"))) == []  # type: ignore[operator]


def test_a_model_counts_as_verified_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"weights")
    status = path.stat()
    (tmp_path / ".m.gguf.verified").write_text(f"{status.st_size} {status.st_mtime_ns} abc\n")
    fact = ModelFileState()
    state = fact.process(answer(fact.command(str(path))))
    assert state
    assert (state.size, state.sha256) == (7, "abc")
    path.write_bytes(b"WEIGHTS")
    state = fact.process(answer(fact.command(str(path))))
    assert state
    assert state.sha256 == ""


def test_an_unfinished_version_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "1.0").mkdir()
    (tmp_path / "current").symlink_to("1.0")
    command = UnpackedVersion().command(str(tmp_path), "MANIFEST")
    assert UnpackedVersion().process(answer(command)) is None
    (tmp_path / "1.0/MANIFEST").touch()
    assert UnpackedVersion().process(answer(command)) == "1.0"


def test_a_service_is_stale_when_a_file_is_younger_than_its_process() -> None:
    lines = ["ActiveState=active", "UnitFileState=enabled", "NeedDaemonReload=no", "InactiveExitTimestamp=@1000"]
    state = ServiceState().process([*lines, "FileChanged=900", "FileChanged=1000", "Serving=yes"])
    assert state == ServiceOnBox(active=True, enabled=True, reload_needed=False, stale=False, serving=True)
    assert ServiceState().process([*lines, "FileChanged=900", "FileChanged=1001"]).stale


def test_a_service_that_never_ran_is_not_stale() -> None:
    state = ServiceState().process(["ActiveState=inactive", "InactiveExitTimestamp=", "FileChanged=5"])
    assert state == ServiceState.default()


def test_an_account_is_looked_for_where_there_is_a_database(tmp_path: Path) -> None:
    command = AccountExists().command("nobody", str(tmp_path / "none.db"), "A'dmin@example.org")
    assert answer(command) == []
    assert AccountExists().process(["1"])
    assert not AccountExists().process(["0"])


def test_processors_are_counted() -> None:
    assert UsableProcessors().process(answer(UsableProcessors.command)) >= 1
