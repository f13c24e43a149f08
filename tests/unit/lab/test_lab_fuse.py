from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.lab import fuse

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(),
    reason="mounting a file system needs root and /dev/fuse",
)


class Memory:
    """A folder with files in memory."""

    def __init__(self) -> None:
        self.files = {f"many/file-{number:04}": b"x\n" for number in range(3000)} | {"value": b"60\n"}

    def mode(self, path: str) -> int:
        return stat.S_IFREG | 0o644 if path in self.files else stat.S_IFDIR | 0o555

    def names(self, path: str) -> list[str]:
        if path == "":
            return ["many", "value"]
        return sorted(name.removeprefix("many/") for name in self.files if name.startswith("many/"))

    def read(self, path: str) -> bytes:
        return self.files[path]

    def write(self, path: str, content: bytes) -> None:
        if content == b"bad\n":
            raise OSError(22, "Invalid argument")
        self.files[path] = content.split(b"\n")[0] + b"\n"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    server = fuse.Server(fuse.mount(tmp_path), Memory())
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)
    thread.join(timeout=5)
    assert not thread.is_alive()


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False, timeout=20)


def test_reads_see_the_last_write_with_and_without_truncation(mounted: Path) -> None:
    assert shell("cat value", mounted).stdout == "60\n"
    assert shell("echo 5 > value; cat value", mounted).stdout == "5\n"
    assert shell("echo 100 1<> value; echo 7 1<> value; cat value", mounted).stdout == "7\n"


def test_a_refused_value_is_an_error_of_the_writer(mounted: Path) -> None:
    done = shell("/bin/echo bad > value", mounted)
    assert done.returncode != 0
    assert "Invalid argument" in done.stderr
    assert shell("cat value", mounted).stdout == "60\n"


def test_a_long_folder_is_listed_whole(mounted: Path) -> None:
    assert shell("ls many | wc -l", mounted).stdout.strip() == "3000"


def test_what_is_not_there_is_not_there(mounted: Path) -> None:
    assert "No such file" in shell("cat absent", mounted).stderr
    assert shell("mkdir new", mounted).returncode != 0
    assert shell("rm value", mounted).returncode != 0
    assert shell("echo > new", mounted).returncode != 0
