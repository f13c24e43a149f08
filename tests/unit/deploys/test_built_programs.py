"""The programs that build, install and reshape on a box: what they do with bad archives, bad builds and bad disks."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TEMPLATES = Path(__file__).parents[3] / "templates"


def module(path: str) -> ModuleType:
    """One of the box's programs, as a module."""
    name = path.replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, TEMPLATES / f"{path}.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


BUILD, INSTALL = module("built_program/build_program"), module("built_program/install_program")
RESHAPE = module("models/reshape_gguf")


def tarball(path: Path, members: dict[str, bytes | str]) -> Path:
    """An archive; a member whose content is a text is a link that leads there."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_source_is_unpacked_without_links_and_not_outside(tmp_path: Path) -> None:
    members = {
        "l-1/CMakeLists.txt": b"project(l)",
        "l-1/src/a.c": b"int a;",
        "l-1/passwd": "/etc/passwd",
        "l-1/../../outside": b"!",
        "other/b.c": b"",
    }
    BUILD.unpacked(tarball(tmp_path / "s.tar.gz", members), None, tmp_path / "there/source")
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "there").rglob("*") if not path.is_dir())
    assert found == ["there/source/CMakeLists.txt", "there/source/src/a.c"]
    assert not (tmp_path / "outside").exists()


def test_source_lies_below_the_folder_that_is_named(tmp_path: Path) -> None:
    archive = tarball(tmp_path / "s.tar.gz", {"p-1/setup.py": b"", "p-1/vendor/l/CMakeLists.txt": b"project(l)"})
    BUILD.unpacked(archive, "p-1/vendor/l", tmp_path / "source")
    assert (tmp_path / "source/CMakeLists.txt").read_text() == "project(l)"
    with pytest.raises(BUILD.BuildError, match="has nothing below p-1/vendor/m/"):
        BUILD.unpacked(archive, "p-1/vendor/m", tmp_path / "other")


def test_what_a_build_is_given_besides_is_put_into_its_source(tmp_path: Path) -> None:
    archive = tarball(tmp_path / "s.tar.gz", {"g-1/Makefile": b"all:", "g-1/CMakeLists.txt": b"upstream's own"})
    BUILD.unpacked(archive, None, tmp_path / "source")
    (tmp_path / "include/device").mkdir(parents=True)
    (tmp_path / "include/it.h").write_text("int it;")
    (tmp_path / "include/device/it.h").write_text("int there;")
    copied = [{"pattern": f"{tmp_path}/include/*", "folder": "inc"}]
    BUILD.completed({"written": {"CMakeLists.txt": "project(g)"}, "copied": copied}, tmp_path / "source")
    assert (tmp_path / "source/CMakeLists.txt").read_text() == "project(g)"
    assert (tmp_path / "source/inc/it.h").read_text() == "int it;"
    assert (tmp_path / "source/inc/device/it.h").read_text() == "int there;"


def test_what_this_machine_lacks_of_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("project(g)")
    pattern = f"{tmp_path}/nowhere/libnccl.so.2"
    with pytest.raises(BUILD.BuildError, match=f"the build needs {pattern}, and this machine has none"):
        BUILD.completed({"copied": [{"pattern": pattern, "folder": "nccl"}]}, tmp_path)


def test_source_that_cannot_be_configured_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:")
    with pytest.raises(BUILD.BuildError, match=r"has no CMakeLists\.txt"):
        BUILD.completed({}, tmp_path)


def test_a_cut_archive_says_so(tmp_path: Path) -> None:
    archive = tarball(tmp_path / "s.tar.gz", {"l/CMakeLists.txt": os.urandom(5000)})
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(BUILD.BuildError, match=r"s\.tar\.gz cannot be unpacked"):
        BUILD.unpacked(archive, None, tmp_path / "source")


def test_a_program_that_is_a_link_is_not_packed(tmp_path: Path) -> None:
    """What a build leaves is a stranger's: a link would have root read any file of the machine into the archive."""
    (tmp_path / "out/bin").mkdir(parents=True)
    (tmp_path / "secret").write_text("the box's own")
    (tmp_path / "out/bin/server").symlink_to(tmp_path / "secret")
    request = {"key": "k", "source": {"sha256": "ab"}, "cmake": [], "targets": ["server"], "record": {}}
    with pytest.raises(OSError, match="symbolic links"):
        BUILD.packed(request, tmp_path, {}, 1.0, tmp_path / "draft")


def test_a_folder_that_a_shell_would_read_otherwise_is_not_mounted(tmp_path: Path) -> None:
    for folder in ("/usr/local/cuda 13", "relative", "/a/$(reboot)"):
        with pytest.raises(BUILD.BuildError, match="there is no such folder"):
            BUILD.Sandbox(tmp_path, tmp_path, [folder])


def built(path: Path, program: str = "#!/bin/sh\necho version 1\n", **more: bytes) -> Path:
    return tarball(path, {"BUILD.json": b"{}", "bin/server": program.encode(), **more})


def install(archive: Path, sha256: str, destination: Path) -> subprocess.CompletedProcess[str]:
    program = TEMPLATES / "built_program/install_program.py"
    words = [str(archive), sha256, str(destination), "v1", "server", "--version"]
    return subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True, check=False)


def test_a_program_is_installed_whole(tmp_path: Path) -> None:
    archive, there = built(tmp_path / "a.tar.gz"), tmp_path / "opt/engine"
    done = install(archive, digest(archive), there)
    assert done.returncode == 0, done.stderr
    assert (there / "current").readlink() == Path("v1")
    assert os.access(there / "current/bin/server", os.X_OK)
    assert sorted(path.name for path in there.iterdir()) == [".lock", "current", "v1"]


def test_the_archive_is_gone_before_the_program_counts_as_installed(tmp_path: Path) -> None:
    """Nobody would come for it when the power is cut in between."""
    archive, there = built(tmp_path / "a.tar.gz"), tmp_path / "opt/engine"
    (there / "current/in-the-way").mkdir(parents=True)
    assert install(archive, digest(archive), there).returncode == 1
    assert not archive.exists()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ({}, "promised"),
        ({"program": "#!/bin/sh\necho GLIBC_2.99 not found >&2\nexit 1\n"}, "GLIBC_2.99 not found"),
        ({"etc/cron.d/x": b"* * * * * root true"}, "holds etc/cron.d/x, which is no part of a built program"),
        ({"bin/../../x": b""}, "which is no part of a built program"),
    ],
)
def test_what_is_wrong_is_told_and_what_served_before_stays(
    tmp_path: Path, archive: dict[str, Any], message: str
) -> None:
    there = tmp_path / "opt"
    (there / "v0").mkdir(parents=True)
    (there / "current").symlink_to("v0")
    made = built(tmp_path / "a.tar.gz", **archive)
    done = install(made, digest(made) if archive else "0" * 64, there)
    assert done.returncode == 1
    assert message in done.stderr
    assert (there / "current").readlink() == Path("v0")
    assert sorted(path.name for path in there.iterdir()) == [".lock", "current", "v0"]


def test_what_processors_lack_is_named() -> None:
    cpuinfo = "processor\t: 0\nflags\t\t: fpu sse4_2 avx\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n"
    assert INSTALL.missing_flags("sse4_2,avx,avx2", cpuinfo) == ["avx2"]
    assert INSTALL.missing_flags("", cpuinfo) == []
    assert INSTALL.missing_flags("avx2", "") == ["avx2"]


def reshape(source: Path, destination: Path, what: str, tool: str) -> subprocess.CompletedProcess[str]:
    program = destination.with_name("tool")
    program.write_text(f"#!/bin/sh\n{tool}\n")
    program.chmod(0o755)
    words = [str(TEMPLATES / "models/reshape_gguf.py"), str(source), str(destination), what, str(program)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def shards(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        (folder / f"m-0000{number}-of-00003.gguf").write_bytes(b"%d" % number * 10)
    return folder / "m-00001-of-00003.gguf"


def test_shards_are_merged_into_a_folder_with_records(tmp_path: Path) -> None:
    first = shards(tmp_path, 1, 2, 3)
    done = reshape(first, tmp_path / "whole", "merge", 'cat "${2%-00001*}"*.gguf > "$3"')
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "whole").glob("*.gguf")
    assert (file.name, file.read_bytes()) == ("m.gguf", b"1" * 10 + b"2" * 10 + b"3" * 10)
    assert json.loads(done.stdout) == {"name": "m.gguf", "bytes": 30, "sha256": digest(file)}
    size, changed, sha256 = (tmp_path / "whole/.m.gguf.verified").read_text().split()
    assert (int(size), int(changed), sha256) == (30, file.stat().st_mtime_ns, digest(file))
    assert (tmp_path / "whole/.converted").read_text() == f"{digest(first)} merge\n"


@pytest.mark.parametrize(
    ("numbers", "tool", "message"),
    [
        ((1, 3), "true", "lacks m-00002-of-00003.gguf"),
        ((2, 3), "true", "lacks m-00001-of-00003.gguf"),
        ((1, 2, 3), 'echo half > "$3"; echo no space >&2; exit 3', "no space"),
        ((1, 2, 3), "true", "ended with 0"),  # and made nothing
    ],
)
def test_what_cannot_be_merged_is_told_and_leaves_nothing(
    tmp_path: Path, numbers: tuple[int, ...], tool: str, message: str
) -> None:
    shards(tmp_path, *numbers)
    done = reshape(tmp_path / "m-00001-of-00003.gguf", tmp_path / "whole", "merge", tool)
    assert done.returncode == 1
    assert message in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_only_the_first_of_several_is_taken(tmp_path: Path) -> None:
    for name in ("m.gguf", "m-00002-of-00003.gguf"):
        with pytest.raises(RESHAPE.ReshapeError, match="is not the first of several shards"):
            RESHAPE.shards_of(tmp_path / name)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RESHAPE, "MARGIN", 1 << 62)
    with pytest.raises(RESHAPE.ReshapeError, match="GB free, and this needs"):
        RESHAPE.reshape(shards(tmp_path, 1, 2, 3), tmp_path / "whole", "merge", ["true"])
    assert not (tmp_path / "whole").exists()
