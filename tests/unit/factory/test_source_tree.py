"""The tree of an archive is what git itself calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.factory import nix_tree
from boxwright.factory.source_tree import tree_in, tree_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "top-1.0/vendor/it"
    (folder / "a-b").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "a-b/file").write_text("one\n")
    (folder / "a/file").write_text("two\n")
    (folder / "a.c").write_text("three\n")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("run")
    (tmp_path / "top-1.0/beside").write_text("not of it\n")
    return folder


def packed(source: Path, reverse: bool = False) -> Path:
    top = source.parents[1]
    archive = top.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(top.rglob("*"), reverse=reverse):
            tar.add(path, str(path.relative_to(top.parent)), recursive=False)
    return archive


@pytest.mark.skipif(shutil.which("git") is None, reason="git tells what is right here")
def test_it_is_the_tree_that_git_makes_of_the_same_files(source: Path) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}

    def git(*words: str) -> str:
        argv = ["git", "-C", str(source), *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    found = tree_of(packed(source), "top-1.0/vendor/it")
    git("init", "--quiet")
    git("add", "--all")
    assert found == git("write-tree")


@pytest.mark.skipif(shutil.which("git") is None, reason="git tells what is right here")
def test_a_name_that_is_no_text_is_the_bytes_that_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "top"
    folder.mkdir()
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9")).write_text("x")
    (folder / "link").symlink_to(os.fsdecode(b"caf\xe9"))
    (folder / "ä").write_text("y")
    with tarfile.open(tmp_path / "top.tar", "w") as tar:
        tar.add(folder, "top")
    for words in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    wanted = subprocess.run(["git", "-C", folder, "write-tree"], capture_output=True, text=True, check=True).stdout
    assert tree_of(tmp_path / "top.tar", None) == wanted.strip()
    tree = tree_in(tmp_path / "top.tar")
    again = tmp_path / "again.tar"
    again.write_bytes(nix_tree.packed(tree, "top"))
    assert nix_tree.digest(tree_in(again)) == nix_tree.digest(tree)


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_a_damaged_archive_is_refused_or_another_tree(source: Path, tmp_path: Path, kind: str) -> None:
    (source / "large").write_text("".join(f"{number} is a line\n" for number in range(9000)))
    archive = tmp_path / "packed.tar"
    with tarfile.open(archive, f"w:{kind}") as tar:
        tar.add(source, "top")
    whole, right, refused = archive.read_bytes(), tree_of(archive, "top"), 0
    for at in range(20, len(whole), len(whole) // 40):
        archive.write_bytes(whole[:at] + bytes(16) + whole[at + 16 :])
        try:
            if tree_of(archive, "top") == right:
                assert at > len(whole) - 100  # behind the end of the archive proper
        except BadInputError:
            refused += 1
    assert refused


def test_an_archive_that_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path) -> None:
    member = tarfile.TarInfo("top/zeros")
    member.size = 3 << 30
    (tmp_path / "bomb.tar").write_bytes(member.tobuf())
    with pytest.raises(BadInputError, match="more than 1024 MiB"):
        tree_in(tmp_path / "bomb.tar")


def test_the_order_of_the_archive_does_not_count_and_one_byte_does(source: Path) -> None:
    before = tree_of(packed(source), "top-1.0/vendor/it")
    assert tree_of(packed(source, reverse=True), "top-1.0/vendor/it") == before
    (source / "a/file").write_text("tow\n")
    assert tree_of(packed(source), "top-1.0/vendor/it") != before
    assert tree_of(packed(source), None) == tree_of(packed(source), "top-1.0")


def test_what_is_no_archive_or_has_no_such_folder_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing below elsewhere/"):
        tree_of(packed(source), "elsewhere")
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BadInputError, match="cannot be read"):
        tree_of(tmp_path / "x.tar.gz", None)
