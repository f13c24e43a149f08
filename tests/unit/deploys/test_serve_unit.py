"""What is kept of a unit that was proven to serve, and what the deploy asks of it. Whole walks: tests/lab."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import stat
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from deploys.facts import services
from deploys.facts.services import ProvenUnit
from deploys.operations.engines import EngineUnit, question
from deploys.operations.files import TEMPLATES


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, with a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("serve_unit", TEMPLATES / "engine_unit/serve_unit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PROVEN", tmp_path / "proven")
    monkeypatch.setattr(services, "PROVEN", str(tmp_path / "proven"))
    (tmp_path / "proven").mkdir()
    return module


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
    request, proof = request_of(engine), program.Proof(engine.unit)
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
    request, proof = request_of(engine), program.Proof(engine.unit)
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
    assert sorted(path.name for path in program.PROVEN.iterdir()) == ["a.service"]


def test_a_broken_proof_proves_nothing(program: ModuleType, engine: EngineUnit) -> None:
    proof = program.Proof(engine.unit)
    proof.keep(request_of(engine))
    (proof.folder / "request.json").write_text("[]")
    assert proof.request() is None
    assert not is_proven(engine)


def test_what_stands_behind_the_same_door_is_a_rival(program: ModuleType, engine: EngineUnit) -> None:
    own = request_of(engine)
    for name, url in (("b.service", own["url"]), ("c.service", "http://127.0.0.1:2/"), ("d.service", None)):
        program.Proof(name).keep(own | {"unit": name, "url": url})
    (program.PROVEN / ".e.service.new").mkdir()  # of a run that was killed
    program.Proof(engine.unit).keep(own)
    assert [rival.folder.name for rival in program._rivals(own)] == ["b.service"]
    assert program._rivals(own | {"url": None}) == []


def test_a_model_is_asked_for_what_it_was_made_for() -> None:
    assert question(8000, "m", "completion", "k")["url"] == "http://127.0.0.1:8000/v1/completions"
    assert question(8000, "m", "embedding", "k")["body"] == {"model": "m", "input": "Paris"}
