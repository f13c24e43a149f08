"""What the deploy of Ollama asks a box, and the files that it writes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploys.facts.ollama import MisplacedModel, ProvenRequest, RegisteredModel
from deploys.operations.files import rendered


def answer(command: str) -> list[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_model_counts_as_registered_while_its_manifests_are_what_was_recorded(tmp_path: Path) -> None:
    library = tmp_path / "manifests/registry.ollama.ai/library"
    for name in ("m", "alias"):
        (library / name).mkdir(parents=True)
        (library / name / "latest").write_text(name)
    record = tmp_path / "record.json"
    fact = RegisteredModel()
    command = fact.command(str(record), str(tmp_path), ("m", "alias"))
    assert fact.process(answer(command)) is False
    digests = dict(zip(("m", "alias"), (line.split()[0] for line in answer(command)), strict=True))
    record.write_text(json.dumps({"mark": "x", "manifests": digests}) + "\n")
    assert fact.process(answer(command)) is True
    (library / "alias/latest").write_text("somebody else's")
    assert fact.process(answer(command)) is False
    (library / "alias/latest").unlink()
    assert fact.process(answer(command)) is False


@pytest.mark.parametrize(
    ("placement", "size_vram", "misplaced"),
    [
        ("cards", 100, False),
        ("cards", 99, True),
        ("memory", 0, False),
        ("memory", 1, True),
        ("both", 50, False),
        ("both", 0, True),
        ("both", 100, True),
    ],
)
def test_a_model_lies_where_it_belongs(placement: str, size_vram: int, *, misplaced: bool) -> None:
    told = json.dumps({"models": [{"name": "m:latest", "size": 100, "size_vram": size_vram}]})
    assert MisplacedModel().process([placement, told]) is misplaced


def test_what_is_not_loaded_or_not_told_is_nowhere_wrong() -> None:
    assert MisplacedModel().process(["cards", '{"models": []}']) is False
    assert MisplacedModel().process(["cards"]) is False


def test_a_proof_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    fact = ProvenRequest()
    assert fact.process(answer(fact.command(str(tmp_path)))) is None
    (tmp_path / "proven.json").write_text('{"request": {"version": "1"}, "files": {}}\n')
    assert fact.process(answer(fact.command(str(tmp_path)))) == {"version": "1"}
    (tmp_path / "proven.json").write_text("{")
    assert fact.process(answer(fact.command(str(tmp_path)))) is None


def test_settings_are_quoted_as_systemd_reads_them() -> None:
    text = rendered(
        "ollama/settings.conf.j2",
        release="0.33.0",
        store="/srv/models/.ollama/ollama",
        environment={"B": 'a "quoted" \\ 50 %', "A": "1"},
        numa_policy="bind",
        numa_nodes=[0, 1],
        weights=["/srv/models/a b.gguf"],
    )
    assert 'Environment="A=1"\nEnvironment="B=a \\"quoted\\" \\\\ 50 %%"\n' in text
    assert "NUMAPolicy=bind\nNUMAMask=0,1\nCPUAffinity=numa\n" in text
    assert 'ExecStartPre=+-/usr/bin/dd "if=/srv/models/a b.gguf" iflag=nocache' in text
    assert "RequiresMountsFor=/srv/models/.ollama/ollama\n" in text


def test_the_unit_does_not_start_without_its_guard_and_runs_the_current_version() -> None:
    text = rendered(
        "ollama/ollama.service.j2",
        unit="ollama-helper",
        user="ollama",
        table="boxwright_ollama_helper",
        program="/opt/boxwright/ollama",
        runner="/usr/local/lib/boxwright/run-ollama.d",
        port=8001,
        name="m",
        purpose="chat",
        patience_s=300,
        cards=False,
        mig=None,
    )
    assert "nft list table inet boxwright_ollama_helper >" in text
    assert "ExecStart=/opt/boxwright/ollama/current/bin/ollama serve\n" in text
    assert "TimeoutStartSec=360\n" in text
    assert "PrivateDevices=yes\n" in text
