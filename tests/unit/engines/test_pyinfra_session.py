"""Uploads arrive whole or not at all, and private."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boxwright.engines.pyinfra.session import receive_file_command


def receive(dest: Path, content: bytes, size: int | None = None) -> subprocess.CompletedProcess[bytes]:
    command = receive_file_command(str(dest), len(content) if size is None else size)
    return subprocess.run(["sh", "-c", command], input=content, capture_output=True, check=False)


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 8192])
@pytest.mark.parametrize("name", ["plain", "we ird'$(touch x)\"`;", "-dash", "ünï"])
def test_a_new_file_arrives_whole_and_private(tmp_path: Path, name: str, content: bytes) -> None:
    assert receive(tmp_path / name, content).returncode == 0
    assert (tmp_path / name).read_bytes() == content
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_existing_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o644)
    link.symlink_to(real)
    assert receive(link, b"new").returncode == 0
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o644


def test_a_cut_upload_leaves_the_old_file(tmp_path: Path) -> None:
    dest = tmp_path / "file"
    dest.write_text("old")
    cut = receive(dest, b"only half", size=18)
    assert cut.returncode == 1
    assert b"cut short" in cut.stderr
    assert dest.read_text() == "old"
    assert list(tmp_path.iterdir()) == [dest]


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    assert receive(tmp_path, b"x").returncode == 1
