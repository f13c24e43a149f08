"""The unit of a trial, what a box tells before it, and what opens and closes the gateway for it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Site
from boxwright.trying import remote_box, unit
from boxwright.trying.room import Room
from boxwright.trying.target import chosen_weights, one_host
from deploys.operations.python import PYTHON, UV

ROOM = Room(cards=(), threads=1, memory_bytes=1_600_000_000)
GATE = Path(__file__).parents[3] / "templates/try_model/gate.py"


def properties(words: tuple[str, ...]) -> list[str]:
    return [word.removeprefix("--property=") for word in words if word.startswith("--property=")]


def test_a_trial_is_closed_limited_and_removes_what_it_brought() -> None:
    words = unit.command(ROOM, page=False, patience_s=300, seconds=900, removed=("/opt/boxwright/try-model",))
    told = properties(words)
    assert {"DynamicUser=yes", "PrivateNetwork=yes", "MemoryMax=1600000000", "RuntimeMaxSec=300"} <= set(told)
    assert not any(one.startswith("ExecStartPost=") for one in told)
    (stop,) = (one for one in told if one.startswith("ExecStopPost="))
    assert stop == f"ExecStopPost=+/usr/bin/python3 -I -B {unit.PROGRAM}/gate.py close /opt/boxwright/try-model"
    assert words[-4:] == ("/opt/boxwright/try-model/current/bin/python", "-I", "-B", unit.PROGRAM)


def test_what_installs_its_packages_goes_with_it() -> None:
    assert {PYTHON, UV} <= set(unit.SHARED)


def test_a_page_has_a_time_limit_of_its_own_and_cards_are_named() -> None:
    room = Room(cards=(2, 3), threads=7, memory_bytes=1)
    told = properties(unit.command(room, page=True, patience_s=300, seconds=900, removed=()))
    assert {"TimeoutStartSec=300", "RuntimeMaxSec=915", "Environment=CUDA_VISIBLE_DEVICES=2,3"} <= set(told)
    assert "PrivateDevices=yes" not in told
    assert any(f"gate.py open {unit.SOCKET} {unit.PROGRAM}/location.conf" in one for one in told)


def fleet(*names: str) -> Fleet:
    hosts = tuple(Host(name=name, address=f"192.0.2.{number}") for number, name in enumerate(names, 1))
    return make_fleet(load_profile("lab"), Site(name="s", hosts=hosts), load_models(), load_accelerators())


def test_one_host_is_tried_on() -> None:
    assert [host.name for host in one_host(fleet("a"), "").hosts] == ["a"]
    assert [host.name for host in one_host(fleet("a", "b"), "b").hosts] == ["b"]
    assert [host.name for host in one_host(fleet("a", "b"), "192.0.2.2").hosts] == ["b"]
    with pytest.raises(BadInputError, match="on which host"):
        one_host(fleet("a", "b"), "")
    with pytest.raises(BadInputError, match="the site has no 'c'"):
        one_host(fleet("a", "b"), "c")


def test_what_the_profile_serves_is_tried_unless_another_model_is_named() -> None:
    assert chosen_weights(fleet("a"), "", "").name == "smollm2-135m-instruct/q4_1"
    assert chosen_weights(fleet("a"), "gemma-3-270m", "").name == "gemma-3-270m/q4_k_m"
    with pytest.raises(BadInputError, match="it is for embeddings"):
        chosen_weights(fleet("a"), "all-minilm-l6-v2", "")
    with pytest.raises(BadInputError, match="no digests of its files are pinned"):
        chosen_weights(fleet("a"), "deepseek-r1-distill-qwen-7b", "bf16")
    with pytest.raises(BadInputError, match="no model 'smollm3'"):
        chosen_weights(fleet("a"), "smollm3", "")


def test_a_box_tells_its_memory_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\ncase $1 in\n"
        "*query-gpu*) printf '0, GPU-a, NVIDIA H100, 81559, 70000\\n1, GPU-b, NVIDIA H100, 81559, 4\\n' ;;\n"
        "*) echo 'GPU-a, 17, /opt/boxwright/vllm/bin/python' ;;\nesac\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = Path(str(remote_box.__file__))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program), str(tmp_path), "/nonexistent"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["there"] == [str(tmp_path)]
    assert told["available_bytes"] > 0
    assert [(one["number"], one["used_bytes"] >> 20, one["users"]) for one in told["cards"]] == [
        (0, 70000, ["python (17)"]),
        (1, 4, []),
    ]


def gate() -> ModuleType:
    found = importlib.util.spec_from_file_location("try_model_gate", GATE)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_gate_removes_a_trials_own_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = gate()
    for name in ("ours/try-model", "theirs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ours/request.json").touch()
    monkeypatch.setattr(closed, "OURS", (f"{tmp_path}/ours/",))
    monkeypatch.setattr(closed, "LOCATION", tmp_path / "try.conf")
    escape = f"{tmp_path}/ours/../theirs"
    closed.close_gate([f"{tmp_path}/ours/try-model", f"{tmp_path}/ours/request.json", escape, f"{tmp_path}/theirs"])
    assert [path.name for path in (tmp_path / "ours").iterdir()] == []
    assert (tmp_path / "theirs").is_dir()


def test_what_is_brought_is_what_the_gate_may_remove() -> None:
    allowed = gate().OURS
    assert all(path.startswith(allowed) for path in (*unit.BROUGHT, *unit.SHARED))
