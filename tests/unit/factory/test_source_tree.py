"""The tree of an archive is what git itself calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.factory.source_tree import tree_of


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
