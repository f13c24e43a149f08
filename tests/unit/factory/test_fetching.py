"""Filling a bundle from a server that breaks off, lies, and takes things away."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factory.bundles import artefact, lock_of, made_bundle

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory import reading
from boxwright.factory.bundle import Bundle
from boxwright.factory.fetching import _failure, begin, fetch, missing
from boxwright.factory.lock import Artefact
from boxwright.factory.origins import Origin

LARGE = bytes(range(256)) * 4096 * 3


class _Source(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}
    asked: list[tuple[str, str | None]] = []
    breaks_after: int | None = None

    def do_GET(self) -> None:
        kind = type(self)
        asked = self.headers.get("Range")
        kind.asked.append((self.path, asked))
        data = kind.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        rest, limit = data[start:], kind.breaks_after
        kind.breaks_after = None
        self.wfile.write(rest if limit is None else rest[:limit])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def source() -> Iterator[Any]:
    kind = type("Source", (_Source,), {"files": {}, "asked": [], "breaks_after": None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kind.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield kind
        server.shutdown()


def filled(bundle: Bundle, source: Any, *artefacts: Artefact) -> list[str]:
    told: list[str] = []
    wanted = [Origin(one, (f"{source.url}/{one.name}",)) for one in artefacts]
    fetch(bundle, wanted, folders=[], python_index="", headers=dict, progress=told.append)
    return told


def test_artefacts_come_verified_into_their_places(tmp_path: Path, source: Any) -> None:
    bundle, one, two = Bundle(tmp_path / "b"), artefact("one", LARGE), artefact("two", b"2")
    source.files |= {"/one": LARGE, "/two": b"2"}
    bundle = begin(tmp_path / "b")
    told = filled(bundle, source, one, two)
    assert bundle.artefact(one.sha256).read_bytes() == LARGE
    assert bundle.wrong(two) == ""
    assert "100 %" in told[-1]
    assert [path.name for path in (tmp_path / "b/sha256").rglob(".*")] == []


def test_what_another_fetcher_brought_meanwhile_is_not_told_file_by_file(tmp_path: Path, source: Any) -> None:
    one = artefact("one", b"1")
    bundle = begin(tmp_path / "b")
    path = bundle.artefact(one.sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    assert not [line for line in filled(bundle, source, one) if "hashes" in line]
    assert source.asked == []


def test_a_transfer_that_broke_goes_on_where_it_was(tmp_path: Path, source: Any) -> None:
    one = artefact("one", LARGE)
    source.files["/one"], source.breaks_after = LARGE, 2_000_000
    bundle = begin(tmp_path)
    filled(bundle, source, one)
    assert bundle.wrong(one) == ""
    (_, first), (_, second) = source.asked
    assert first is None
    assert second == "bytes=2000000-"


def test_what_was_withdrawn_is_named_and_the_rest_stays(tmp_path: Path, source: Any) -> None:
    one, gone = artefact("one", b"1"), artefact("gone", b"0", version="2.5")
    source.files["/one"] = b"1"
    bundle = begin(tmp_path)
    with pytest.raises(BoxwrightError, match=r"withdrawn: Python wheel gone 2\.5") as caught:
        filled(bundle, source, one, gone)
    assert "Lock anew" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "told", "hint"),
    [
        ("b has 62.9 MB free; this needs 524.2 MB and 536.9 MB to spare. Free some space, or use …", "62.9 MB", "Free"),
        ("[Errno 28] No space left on device: 'b/sha256/aa/aa.part'", "No space left on device", "Free some space"),
        ("[Errno 30] Read-only file system: 'b/sha256/aa'", "cannot be written to: read-only file system", "Name a"),
    ],
)
def test_a_disk_that_takes_no_more_is_no_source_that_is_gone(said: str, told: str, hint: str) -> None:
    error = _failure([f"fetch-model: {said}"], [Origin(artefact("one", b"1"), ("http://mirror.example/one",))])
    assert told in error.message
    assert hint in error.hint


def test_what_was_half_copied_from_nearby_does_not_stay_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, bundle = made_bundle(tmp_path / "near", tmp_path / "key"), begin(tmp_path / "b")

    def no_link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    def half(_: Path, to: Path) -> None:
        to.write_bytes(b"hal")
        raise OSError(28, "No space left on device", str(to))

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError, match="No space left"):
        missing(bundle, lock_of(), [near], lambda _: None)
    assert [path for path in bundle.folder.rglob("*") if path.is_file()] == []


def test_other_bytes_than_the_locks_are_not_kept(tmp_path: Path, source: Any) -> None:
    one = artefact("one", b"right")
    source.files["/one"] = b"wrong"
    bundle = begin(tmp_path)
    with pytest.raises(BoxwrightError, match=r"cannot be fetched: Python wheel one 1\.0"):
        filled(bundle, source, one)
    assert bundle.wrong(one) == "missing"


def test_a_damaged_file_is_fetched_again_and_the_others_are_not(tmp_path: Path) -> None:
    bundle, told = made_bundle(tmp_path / "b", tmp_path / "key"), []
    alpha, *_ = lock_of().artefacts
    bundle.artefact(alpha.sha256).write_bytes(b"alpha's bytez")
    assert missing(bundle, lock_of(), [], told.append) == [alpha]
    assert told == ["Python wheel alpha 1.0: its bytes are not those of its digest; it is fetched again"]
    assert not bundle.artefact(alpha.sha256).exists()


def test_a_bundle_nearby_is_linked_but_not_what_is_damaged_there(tmp_path: Path) -> None:
    near, bundle = made_bundle(tmp_path / "near", tmp_path / "key"), begin(tmp_path / "b")
    alpha, beta, gamma = lock_of().artefacts
    near.artefact(beta.sha256).write_bytes(b"x" * 12000)
    assert missing(bundle, lock_of(), [near], lambda _: None) == [beta]
    assert bundle.artefact(alpha.sha256).samefile(near.artefact(alpha.sha256))
    assert bundle.wrong(gamma) == ""


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BadInputError, match="something else"):
        begin(tmp_path)
    with pytest.raises(BadInputError, match="no folder"):
        begin(tmp_path / "thesis.tex")


def test_the_reading_of_what_is_there_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TELL_EVERY_S", 0)
    bundle, told = made_bundle(tmp_path / "b", tmp_path / "key"), list[str]()
    assert missing(bundle, lock_of(), [], told.append) == []
    assert [line.rpartition("(")[2] for line in told] == ["0 %)", "0 %)", "99 %)"]
