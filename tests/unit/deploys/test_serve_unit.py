"""What is kept of a unit that was proven to serve, and what the deploy asks of it. Whole walks: tests/lab."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploys.facts import services
from deploys.facts.services import ProvenUnit
from deploys.operations.engines import EngineUnit, question, speed
from deploys.operations.files import TEMPLATES

PROGRAM = TEMPLATES / "engine_unit/serve_unit"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program with its modules, as Python runs its folder, and what is proven in a folder of the test's own."""
    monkeypatch.syspath_prepend(str(PROGRAM))
    spec = importlib.util.spec_from_file_location("serve_unit", PROGRAM / "__main__.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.proofs, "PROVEN", tmp_path / "proven")
    monkeypatch.setattr(services, "PROVEN", str(tmp_path / "proven"))
    (tmp_path / "proven").mkdir()
    yield module
    for path in PROGRAM.glob("[a-z]*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def engine(tmp_path: Path) -> EngineUnit:
    (tmp_path / "etc").mkdir(mode=0o700)
    unit, key = tmp_path / "it's a.service", tmp_path / "etc/api-key"
    unit.write_text("[Service]\n")
    key.write_text("secret\n")
    unit.chmod(0o644)
    key.chmod(0o600)
    return EngineUnit("a.service", "a model", "http://127.0.0.1:1/", None, (str(unit), str(key)), (), 5)


def request_of(engine: EngineUnit) -> dict[str, object]:
    return dict(json.loads(engine.request()))


def is_proven(engine: EngineUnit) -> bool:
    digest = hashlib.sha256(engine.request().encode()).hexdigest()
    command = ProvenUnit().command(engine.unit, digest, engine.written)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert not done.stderr
    return ProvenUnit().process(done.stdout.splitlines())


def test_only_this_request_with_these_files_is_proven(program: ModuleType, engine: EngineUnit) -> None:
    request, proof = request_of(engine), program.proofs.Proof(engine.unit)
    assert not is_proven(engine)
    assert not proof.fits(request)
    proof.keep(request)
    assert is_proven(engine)
    assert proof.fits(request)
    other = EngineUnit(**{**vars(engine), "serves": "another model"})
    assert not is_proven(other)
    assert not proof.fits(request_of(other))
    Path(engine.written[1]).write_text("another secret\n")
    assert not is_proven(engine)
    assert not proof.fits(request)
    Path(engine.written[1]).unlink()
    assert not is_proven(engine)


def test_files_come_back_as_they_were_and_nobody_else_reads_them(program: ModuleType, engine: EngineUnit) -> None:
    request, proof = request_of(engine), program.proofs.Proof(engine.unit)
    proof.keep(request)
    unit, key = map(Path, engine.written)
    untouched = key.stat().st_ino
    unit.write_text("[Service]\nExecStart=/bin/false\n")
    proof.put_back(request)
    assert (unit.read_text(), stat.S_IMODE(unit.stat().st_mode)) == ("[Service]\n", 0o644)
    assert key.stat().st_ino == untouched
    key.unlink()
    key.parent.rmdir()
    proof.put_back(request)
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("secret\n", 0o600)
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(proof.folder.stat().st_mode) == 0o700
    proof.keep(request)  # over what is there
    assert sorted(path.name for path in program.proofs.PROVEN.iterdir()) == ["a.service"]


def test_a_broken_proof_proves_nothing(program: ModuleType, engine: EngineUnit) -> None:
    proof = program.proofs.Proof(engine.unit)
    proof.keep(request_of(engine))
    (proof.folder / "request.json").write_text("[]")
    assert proof.request() is None
    assert not is_proven(engine)


def test_what_stands_behind_the_same_door_is_a_rival(program: ModuleType, engine: EngineUnit) -> None:
    own = request_of(engine)
    urls = {"b.service": "http://127.0.0.1:1/api/version", "c.service": "http://127.0.0.1:2/", "d.service": None}
    for name, url in urls.items():
        program.proofs.Proof(name).keep(own | {"unit": name, "url": url})
    (program.proofs.PROVEN / ".e.service.new").mkdir()  # of a run that was killed
    program.proofs.Proof(engine.unit).keep(own)
    assert [rival.folder.name for rival in program.proofs.rivals_of(own)] == ["b.service"]
    assert program.proofs.rivals_of(own | {"url": None}) == []


def test_other_programs_prove_units_through_it(
    program: ModuleType, engine: EngineUnit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ordered: list[tuple[str, ...]] = []
    monkeypatch.setattr(program.units, "systemctl", lambda *words, **_: ordered.append(words))
    other = EngineUnit(
        **{
            **vars(engine),
            "unit": "b.service",
            "guards": ("b-guard.service",),
            "traces": (f"{engine.written[0]}.prom",),
        }
    )
    trace = Path(other.traces[0])
    trace.touch()

    def order(*words: str, told: EngineUnit | None = None) -> tuple[int, str]:
        monkeypatch.setattr(program.sys, "stdin", io.StringIO(told.request() if told else ""))
        code = program.main(words)
        out, err = capsys.readouterr()
        return code, out + err

    assert order("rivals", told=engine) == (0, "")
    assert order("keep", told=other) == (0, "")
    assert order("known") == (0, "b.service\n")
    assert order("rivals", told=engine) == (0, "b.service\n")
    assert order("end", "b.service")[0] == 0
    assert ordered[0] == ("disable", "--now", "--quiet", "b.service", "b-guard.service")
    assert order("remove", "b.service") == (0, "b.service served a model before, and was removed\n")
    assert not [path for path in (*map(Path, other.written), trace) if path.exists()]
    assert order("known") == (0, "")
    assert order("back", "b.service") == (1, "serve-unit: nothing is proven of b.service\n")
    assert order("rivalz") == (1, "serve-unit: there is no order rivalz\n")


def test_a_request_says_nothing_of_what_there_is_none_of(engine: EngineUnit) -> None:
    """What was proven before speeds were measured is proven still."""
    assert set(engine.told()) == {"unit", "serves", "url", "question", "written", "patience_s"}
    asked = speed(1, "m", "chat", "k", 5.0)
    assert EngineUnit(**{**vars(engine), "speed": asked}).told()["speed"] == asked


def test_where_a_model_lies_is_said_and_elsewhere_is_a_failure(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "card-residency"
    monkeypatch.setattr(program.units, "journal", lambda _: "its log")

    def answers(**found: str) -> None:
        told = {"wrong": "", "unproven": "", "seen": ""} | found
        asked.write_text(
            f"import json, sys\nassert json.load(sys.stdin) == [{{'cards': [0]}}]\nprint({json.dumps([told])!r})"
        )
        program.starts._in_its_place("a.service", asked, {"cards": [0]})

    answers(seen="a.service: card 0 2.00 GB")
    answers(unproven="no tool tells")
    assert capsys.readouterr().out == "a.service: card 0 2.00 GB\nno tool tells\n"
    with pytest.raises(program.units.FailedError, match=r"has 0\.00 GB") as failure:
        answers(wrong="a.service has 0.00 GB on its cards")
    assert failure.value.log == "its log"
    asked.write_text("raise SystemExit('it broke')")
    with pytest.raises(program.units.FailedError, match="nobody can tell where its model lies: it broke"):
        program.starts._in_its_place("a.service", asked, {"cards": [0]})


class Engine(BaseHTTPRequestHandler):
    """Answers completions of so many tokens after so long; what it was asked is kept."""

    answers: list[tuple[float, Any]]
    asked: list[tuple[str | None, Any]]

    def do_POST(self) -> None:
        self.asked.append(
            (self.headers["Authorization"], json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        )
        seconds, usage = self.answers.pop(0)
        time.sleep(seconds)
        data = json.dumps({"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def engine_port() -> Iterator[int]:
    Engine.answers, Engine.asked = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_the_best_of_some_answers_is_its_speed(program: ModuleType, engine_port: int) -> None:
    asked = speed(engine_port, "m", "chat", "k", 50.0)
    Engine.answers = [(1.0, {"completion_tokens": 10}), (0.1, {"completion_tokens": 64})]
    assert 50 < program.starts.asking.measured(asked) < 640
    (authorization, body), _ = Engine.asked
    assert authorization == "Bearer k"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 64, 0)
    Engine.answers = [(0.4, {"completion_tokens": 10})] * 3
    assert 10 < program.starts.asking.measured(asked) < 25
    assert not Engine.answers
    Engine.answers, Engine.asked = [(0.0, {"completion_tokens": 64})], []
    program.starts.asking.measured(speed(engine_port, "m", "chat", None, 50.0))
    assert Engine.asked[0][0] is None


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (None, "does not tell of how many tokens"),
        ({}, "does not tell"),
        ({"completion_tokens": 3}, "3 tokens is too short"),
    ],
)
def test_what_tells_no_speed_is_no_speed(program: ModuleType, engine_port: int, usage: Any, message: str) -> None:
    Engine.answers = [(0.0, usage)]
    with pytest.raises(ValueError, match=message):
        program.starts.asking.measured(speed(engine_port, "m", "completion", "k", 1.0))


def test_nobody_waits_for_an_engine_that_is_far_too_slow(
    program: ModuleType, engine_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.starts.asking, "LEAST_FOR_AN_ANSWER_S", 0.2)
    Engine.answers = [(1.0, {"completion_tokens": 64})]
    with pytest.raises(OSError, match="not 64 tokens within 0 s, at least 1000 tokens/s are asked for"):
        program.starts.asking.measured(speed(engine_port, "m", "chat", "k", 1000.0))


def test_embeddings_and_whatever_nobody_asks_for_have_no_speed() -> None:
    assert speed(1, "m", "embedding", "k", 5.0) is None
    assert speed(1, "m", "chat", "k", None) is None


def test_a_model_is_asked_for_what_it_was_made_for() -> None:
    assert question(8000, "m", "completion", "k")["url"] == "http://127.0.0.1:8000/v1/completions"
    assert question(8000, "m", "embedding", "k")["body"] == {"model": "m", "input": "Paris"}


@pytest.fixture
def node(program: ModuleType, engine: EngineUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineUnit:
    """Another node than the head of a box, whose unit systemd has started; what it knows is the test's to say."""
    monkeypatch.setattr(program.proofs, "NODES", tmp_path / "nodes")
    monkeypatch.setattr(program.nodes, "RUN", tmp_path / "run")
    monkeypatch.setattr(program, "HEAD_FIRST_S", 0)
    monkeypatch.setattr(program.units, "systemctl", lambda *_, **__: None)
    monkeypatch.setattr(program.units, "shown", lambda _, name: {"ActiveState": "active"}.get(name, "0"))
    monkeypatch.setattr(program.units, "journal", lambda _: "its log")
    (tmp_path / "run/a").mkdir(parents=True)
    return EngineUnit(**{**vars(engine), "url": None, "box": {"leads": False, "settings": "1" * 16}})


def later(folder: Path, *known: str) -> threading.Thread:
    """Have a node know this of its head, one after the other."""

    def write() -> None:
        for word in known:
            time.sleep(0.8)
            (folder / "run/a/head").write_text(word)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_node_keeps_what_is_new_when_its_head_serves_by_it(
    program: ModuleType, node: EngineUnit, tmp_path: Path
) -> None:
    thread = later(tmp_path, "other", "joined", "serves")
    program.serve(request_of(node), restart=True)
    thread.join()
    assert is_proven(node)


def test_a_node_goes_back_when_its_head_does(
    program: ModuleType, node: EngineUnit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = EngineUnit(**{**vars(node), "serves": "a model of before"})
    program.proofs.Proof(node.unit).keep(request_of(before))
    Path(node.written[1]).write_text("other settings\n")
    thread = later(tmp_path, "joined", "other", "joined", "serves")
    with pytest.raises(program.units.FailedError, match="serves a model of before again, with the files that it had"):
        program.serve(request_of(node), restart=True)
    thread.join()
    assert "the head of the box has gone back to what served before" in capsys.readouterr().err
    assert Path(node.written[1]).read_text() == "secret\n"
    assert is_proven(before)


def test_a_node_whose_run_has_ended_waits_only_for_a_head_that_is_at_it(
    program: ModuleType, node: EngineUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.nodes, "WORD_S", 0.1)
    monkeypatch.setattr(program.units, "say", lambda *_: False)
    with pytest.raises(program.units.FailedError, match="Nothing was proven"):
        program.serve(request_of(node), restart=True)
    program.proofs.Proof(node.unit).keep(request_of(node))
    Path(node.written[1]).write_text("other settings\n")
    (tmp_path / "run/a/head").write_text("joined")
    thread = later(tmp_path, "joined", "serves")
    program.serve(request_of(node), restart=True)
    thread.join()
    assert is_proven(node)


def test_nobody_who_listens_is_no_reason_to_leave_a_box_half_changed(program: ModuleType) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as gone:  # noqa: PTH123
        assert not program.units.say("a word", gone)
        assert program.units.say("a word", io.StringIO())
        with pytest.raises(OSError):  # noqa: PT011 - what it keeps of the word
            gone.close()


def test_what_a_head_is_proven_to_serve_is_for_every_user_to_read(
    program: ModuleType, node: EngineUnit, tmp_path: Path
) -> None:
    head = EngineUnit(**{**vars(node), "box": {"leads": True, "settings": "1" * 16}})
    old = os.umask(0o077)
    try:
        program.proofs.Proof(head.unit).keep(request_of(head))
        with (
            program.proofs.trying(request_of(head)),
            (tmp_path / "nodes/a.service/trying").open() as trying,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(trying, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.umask(old)
    proven = tmp_path / "nodes/a.service/proven"
    assert proven.read_text() == "1" * 16 + "\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (proven, proven.parent)] == [0o644, 0o755]
    program.proofs.Proof(head.unit).forget()
    assert not proven.exists()


def of_other_settings(node: EngineUnit) -> EngineUnit:
    """What served on that node before, which another file tells."""
    return EngineUnit(
        **{**vars(node), "serves": "a model of before", "box": {**(node.box or {}), "settings": "2" * 16}}
    )


def test_a_node_serves_until_its_head_has_ended_what_it_served(
    program: ModuleType, node: EngineUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.proofs.Proof(node.unit).keep(request_of(of_other_settings(node)))
    known, ended = tmp_path / "run/a/head", list[str]()
    known.write_text("serves")

    def systemctl(*words: str, **_: object) -> None:
        if words[0] == "restart":
            ended.append(known.read_text())

    monkeypatch.setattr(program.units, "systemctl", systemctl)
    thread = later(tmp_path, "waiting", "joined", "serves")
    program.serve(request_of(node), restart=True)
    thread.join()
    assert ended == ["waiting"]  # with a request in flight it would have been cut on the head
    assert is_proven(node)


def test_a_node_whose_head_is_told_nothing_new_waits_for_no_leave(
    program: ModuleType, node: EngineUnit, tmp_path: Path
) -> None:
    before = EngineUnit(**{**vars(node), "serves": "under another name"})
    program.proofs.Proof(node.unit).keep(request_of(before))
    (tmp_path / "run/a/head").write_text("serves")
    program.serve(request_of(node), restart=True)
    assert is_proven(node)


def test_a_node_whose_run_ends_while_its_head_serves_goes_on_as_before(
    program: ModuleType,
    node: EngineUnit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, ordered = of_other_settings(node), list[str]()
    program.proofs.Proof(node.unit).keep(request_of(before))
    Path(node.written[1]).write_text("other settings\n")
    (tmp_path / "run/a/head").write_text("serves")
    monkeypatch.setattr(program.units, "systemctl", lambda *words, **_: ordered.append(words[0]))
    monkeypatch.setattr(program.nodes, "WORD_S", 0.1)
    said = program.units.say
    monkeypatch.setattr(program.units, "say", lambda text, where=None: bool(where) and said(text, where))
    with pytest.raises(
        program.units.FailedError, match="serves a model of before as before, with the files that it had"
    ):
        program.serve(request_of(node), restart=True)
    assert "the head of the box goes on with what served before" in capsys.readouterr().err
    assert ordered == ["daemon-reload"]  # nothing was ended
    assert is_proven(before)


def test_the_time_that_a_large_model_takes_to_end_is_not_that_of_the_next_ones_start(
    program: ModuleType, engine: EngineUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.monotonic()
    monkeypatch.setattr(program.units, "systemctl", lambda *words, **_: time.sleep(1.5 if "restart" in words else 0))
    monkeypatch.setattr(program.units, "shown", lambda *_: "0")
    monkeypatch.setattr(program.starts.asking, "is_ready", lambda _: time.monotonic() > begun + 2)
    program.starts.bring_up(request_of(engine) | {"patience_s": 1, "question": None}, restart=True)
    monkeypatch.setattr(program.starts.asking, "is_ready", lambda _: False)
    with pytest.raises(program.units.FailedError, match="was not ready within 0 s"):
        program.starts.bring_up(request_of(engine) | {"patience_s": 0, "question": None}, restart=True)


@pytest.fixture
def head(program: ModuleType, node: EngineUnit, engine_port: int, monkeypatch: pytest.MonkeyPatch) -> EngineUnit:
    """The head of a box, which is not ready before the test says so."""
    monkeypatch.setattr(program.starts.asking, "is_ready", lambda _: False)
    return EngineUnit(**{**vars(node), "box": {"leads": True, "settings": "1" * 16}, "patience_s": 1})


def test_the_patience_with_a_head_begins_when_all_of_its_nodes_are_there(
    program: ModuleType, head: EngineUnit, tmp_path: Path
) -> None:
    thread, begun = later(tmp_path, "waiting", "waiting", "joined"), time.monotonic()
    with pytest.raises(program.units.FailedError, match=r"a\.service was not ready within 1 s"):
        program.starts.bring_up(request_of(head), restart=True)
    assert 3.2 < time.monotonic() - begun < 10
    thread.join()


def test_a_head_whose_run_has_ended_does_not_wait_long_for_nodes_that_do_not_come(
    program: ModuleType, head: EngineUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.nodes, "WORD_S", 0.1)
    monkeypatch.setattr(program.nodes, "ALONE_S", 1)
    monkeypatch.setattr(program.units, "say", lambda *_: False)
    begun = time.monotonic()
    with pytest.raises(
        program.units.FailedError, match=r"a\.service was not joined by the other nodes of the box within"
    ):
        program.starts.bring_up(request_of(head) | {"patience_s": 600}, restart=True)
    assert time.monotonic() - begun < 10
