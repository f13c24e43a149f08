"""What the deploys' facts make of answers, and that asking a bare host is no error."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploys.facts.chat_page import AccountExists
from deploys.facts.containers import EngineImages
from deploys.facts.files import FileState, UnpackedVersion
from deploys.facts.machine import UsableProcessors
from deploys.facts.models import BuildFile, BuildFiles
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


def test_an_absent_file_is_no_error(tmp_path: Path) -> None:
    assert answer(FileState().command(str(tmp_path / "none"))) == []
    assert answer(BuildFiles().command(str(tmp_path / "none"), ("a", "b"))) == []


def test_a_model_counts_as_verified_until_it_changes(tmp_path: Path) -> None:
    for path in (tmp_path / "m-00001-of-00002.gguf", tmp_path / "1_Pooling/config.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")
        status = path.stat()
        (path.parent / f".{path.name}.verified").write_text(f"{status.st_size} {status.st_mtime_ns} abc\n")
    (tmp_path / "m-00002-of-00002.gguf.part").write_bytes(b"wei")
    fact, names = BuildFiles(), ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "1_Pooling/config.json")

    def found() -> dict[str, BuildFile]:
        return fact.process(answer(fact.command(str(tmp_path), names)))

    state = found()
    assert {name: (one.size, one.sha256) for name, one in state.items()} == {
        names[0]: (7, "abc"),
        names[2]: (7, "abc"),
        f"{names[1]}.part": (3, ""),
    }
    assert state[names[0]].access.startswith("644 ")
    (tmp_path / names[0]).write_bytes(b"WEIGHTS")
    assert (found()[names[0]].sha256, found()[names[2]].sha256) == ("", "abc")


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


def test_images_are_told_whose_they_are_and_a_torn_note_tells_nothing() -> None:
    pulled = [f"registry/vllm@sha256:{digit * 64}" for digit in "ab"]
    served = '{"serving": ["b"], "before": ["a"]}'
    nothing = {"pulled": [], "serving": [], "before": []}
    assert EngineImages().process([]) == nothing
    assert EngineImages().process([served, *pulled]) == {"pulled": pulled, "serving": ["b"], "before": ["a"]}
    assert EngineImages().process([served[:20], *pulled]) == nothing | {"pulled": pulled}
