"""What an instance of Ollama is held to when it has started. Whole walks: tests/lab/test_lab_ollama.py."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploys.operations.files import TEMPLATES


class Server(BaseHTTPRequestHandler):
    """Answers of so many tokens a second, one after the other."""

    rates: list[float]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        told = {"eval_count": 48, "eval_duration": int(48e9 / self.rates.pop(0))}
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        data = json.dumps({"models": [{"name": "m:latest", "size": 100, "size_vram": 0}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = TEMPLATES / "ollama/run_ollama/instance.py"
    spec = importlib.util.spec_from_file_location("ollama_instance", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "journal", lambda _: "its log")
    return module


def instance(program: ModuleType, port: int, **changes: Any) -> Any:
    told = {"unit": "ollama", "names": ["m"], "port": port, "purpose": "chat", "patience_s": 10}
    return program.Instance(told | {"least_tokens_per_s": 5.0, "placement": "memory"} | changes)


def test_the_best_of_some_answers_is_its_speed(program: ModuleType, port: int) -> None:
    Server.rates = [2.0, 7.0, 9.0]
    assert instance(program, port).speed() == "7.0 tokens/s"
    assert Server.rates == [9.0]
    Server.rates = [2.0, 4.0, 3.0]
    with pytest.raises(program.FailedError, match=r"gives 4\.0 tokens/s at best; the profile asks for 5"):
        instance(program, port).speed()
    Server.rates = [2.0]
    assert instance(program, port, least_tokens_per_s=None).speed() == "2.0 tokens/s"


def test_where_its_memory_lies_is_asked_where_the_profile_names_nodes(
    program: ModuleType, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "memory-placement"
    monkeypatch.setattr(program, "MEMORY_PLACEMENT", asked)

    def judged(**found: str) -> str:
        told = {"wrong": "", "unproven": "", "seen": ""} | found
        asked.write_text(f"import json, sys\nassert json.load(sys.stdin) == [[1]]\nprint({json.dumps([told])!r})")
        return str(instance(program, port, numa_placement=[1]).judge())

    assert instance(program, port).judge() == "0.00 of 0.00 GB of m on cards"
    assert judged(seen="it lies there").endswith("on cards; it lies there")
    assert judged(unproven="nobody knows").endswith("on cards; nobody knows")
    with pytest.raises(program.FailedError, match="it lies elsewhere\nits log"):
        judged(wrong="it lies elsewhere")
    asked.write_text("raise SystemExit('it broke')")
    with pytest.raises(program.FailedError, match=r"ollama\.service: nobody can tell where its memory lies: it broke"):
        instance(program, port, numa_placement=[1]).judge()
