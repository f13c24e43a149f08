"""The digest of a tree is what Nix itself calls it, however the archive was packed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.factory.nix_tree import digest, packed
from boxwright.factory.source_tree import tree_in

# What nix-hash 2.8.0 said of the folder that `source` makes, and of an empty one.
OF_SOURCE = "sha256-V+tcxDPzuMza1iWNaXbj3lGOVgKsEEYF9ep9gAhg934="
OF_NOTHING = "sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo="


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "top-1.0"
    (top / "vendor/a-b").mkdir(parents=True)
    (top / "vendor/a").mkdir()
    (top / "vendor/a-b/file").write_text("one\n")
    (top / "vendor/a/file").write_text("two\n")
    (top / "vendor/a.c").write_text("three\n")
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "link").symlink_to("run")
    return top


def archived(source: Path, reverse: bool = False) -> Path:
    archive = source.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(source.rglob("*"), reverse=reverse):
            tar.add(path, str(path.relative_to(source.parent)), recursive=False)
    return archive


@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_what_nix_says_whatever_the_order(source: Path, reverse: bool) -> None:
    assert digest(tree_in(archived(source, reverse))) == OF_SOURCE
    assert digest({}) == OF_NOTHING


def test_a_program_that_cannot_be_run_any_more_is_another_tree(source: Path) -> None:
    (source / "run").chmod(0o644)
    assert digest(tree_in(archived(source))) != OF_SOURCE


def test_what_is_packed_anew_is_the_same_tree_and_the_same_bytes(source: Path, tmp_path: Path) -> None:
    tree = tree_in(archived(source))
    again = tmp_path / "again.tar"
    again.write_bytes(packed(tree, "other-name"))
    assert digest(tree_in(again)) == OF_SOURCE
    assert packed(tree_in(again), "other-name") == again.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(content)
    with pytest.raises(BadInputError, match=r"cannot be read|no files"):
        tree_in(bad)
