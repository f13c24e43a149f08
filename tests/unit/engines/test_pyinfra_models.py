"""Weights by the worker, over real ssh, from a real HTTP server that speaks as hubs do: to the last byte, and told."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub
from pyinfra_testbed import REPO, Box, Run, SshServer, finish, start

from boxwright.engines.events import Outcome, Phase

CONTENT = random.Random(7).randbytes(2_000_000)  # noqa: S311 - any bytes do
TOKEN = "hf_a-token-of-the-test"
SITE = f"""
from pyinfra import host
from pyinfra.operations import files
from deploys.operations import models, sending

models.PROGRAM = {str(REPO / "templates/models/fetch_model")!r}
sending.PIECE = 900_000
models._RIGHT = host.data.access
files.directory(name="Folder", path=host.data.build["directory"], mode="755")
models.fetched_build(
    name="Fetch some-model/q4",
    build=host.data.build,
    request=host.data.request,
    folders=tuple(host.data.folders),
    headers={{host.data.hub: {{"Authorization": "Bearer " + host.data.models_huggingface_token}}}},
)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    made.repositories["a/b"] = {"UD/m-1.gguf": CONTENT, "config.json": b"{}"}
    made.token = TOKEN
    yield made
    made.close()


@pytest.fixture
def box(tmp_path: Path, hub: Hub) -> Iterator[Box]:
    server = SshServer(tmp_path)
    directory = tmp_path / "target/some-model/q4"
    names = {"m-1.gguf": "UD/m-1.gguf", "sub/config.json": "config.json"}
    files = [
        {
            "name": name,
            "path": path,
            "bytes": len(hub.repositories["a/b"][path]),
            "sha256": hashlib.sha256(hub.repositories["a/b"][path]).hexdigest(),
            "urls": [f"{hub.url}/a/b/resolve/main/{path}"],
            "python_packages": [],
        }
        for name, path in names.items()
    ]
    build = {"directory": str(directory), "files": files}
    request = {"builds": [build], "folders": [], "python_index": "", "proxy": None, "no_proxy": []}
    (tmp_path / "request.json").write_text(json.dumps(request))
    told: dict[str, Any] = {"build": build, "request": str(tmp_path / "request.json"), "folders": [], "hub": hub.url}
    owner = f"{(tmp_path / 'request.json').owner()} {(tmp_path / 'request.json').group()}"
    yield Box(server, tmp_path, told | {"models_huggingface_token": TOKEN, "access": f"644 {owner}"})
    server.close()


def fetched(box: Box) -> bytes:
    return (Path(box.data["build"]["directory"]) / "m-1.gguf").read_bytes()


def progress(run: Run) -> list[str]:
    return [event.message for event in run.events if event.phase is Phase.STARTED and event.message]


def test_a_build_is_fetched_once_and_told_while_it_comes(box: Box, hub: Hub) -> None:
    hub.wrong.pause_per_block_s = 0.2  # 31 blocks: long enough to be told at least once
    site = box.deploy(SITE)
    first = box.run(site)
    assert first.rc == 0, first.raw
    assert first.outcomes()["Fetch some-model/q4"] is Outcome.CHANGED
    assert fetched(box) == CONTENT
    told = progress(first)
    assert len(told) >= 2
    assert "of 0.00 GB" in told[0]
    assert "MB/s" in told[0]
    assert "left" in told[0]
    assert told[-1] == "0.00 of 0.00 GB (100 %)"
    assert TOKEN not in first.raw + first.stderr
    assert not any(TOKEN in command for command in box.server.commands)

    box.server.commands.clear()
    second = box.run(site)
    assert second.outcomes() == {"Folder": Outcome.OK, "Fetch some-model/q4": Outcome.OK}
    assert len(box.server.commands) <= 2


def test_progress_is_an_event_when_it_happens_and_not_at_the_end(box: Box, hub: Hub) -> None:
    hub.wrong.pause_per_block_s = 0.3
    worker = start({"hosts": [box.host()], "deploys": [box.deploy(SITE)]})
    assert worker.stdout
    for line in worker.stdout:
        event = json.loads(line)
        if event["message"].endswith("left"):
            break
    assert worker.poll() is None
    hub.wrong.pause_per_block_s = 0
    assert finish(worker).rc == 0


def test_a_changed_mode_is_put_right_without_fetching(box: Box, hub: Hub) -> None:
    site = box.deploy(SITE)
    assert box.run(site).rc == 0
    (Path(box.data["build"]["directory"]) / "m-1.gguf").chmod(0o600)
    hub.asked.clear()
    again = box.run(site)
    assert again.outcomes()["Fetch some-model/q4"] is Outcome.CHANGED
    assert hub.asked == []
    assert (Path(box.data["build"]["directory"]) / "m-1.gguf").stat().st_mode & 0o777 == 0o644


def test_what_the_controller_has_is_sent_and_verified_on_the_box(box: Box, hub: Hub) -> None:
    (box.folder / "bundle/UD").mkdir(parents=True)
    (box.folder / "bundle/UD/m-1.gguf").write_bytes(CONTENT)
    part = Path(box.data["build"]["directory"]) / "m-1.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:500_000])  # of a run that broke off
    box.data["folders"] = [str(box.folder / "bundle")]
    run = box.run(box.deploy(SITE))
    assert run.rc == 0, run.raw
    assert fetched(box) == CONTENT
    assert [one.path for one in hub.asked] == ["/a/b/resolve/main/config.json"]
    assert "sent 0.0 of 0.0 GB of m-1.gguf" in progress(run)
    assert sorted(path.name for path in part.parent.glob("[!.]*")) == ["m-1.gguf", "sub"]


def test_what_the_controller_has_wrong_is_fetched_from_the_hub(box: Box, hub: Hub) -> None:
    (box.folder / "bundle").mkdir()
    (box.folder / "bundle/m-1.gguf").write_bytes(CONTENT[:-1] + b"!")
    box.data["folders"] = [str(box.folder / "bundle")]
    assert box.run(box.deploy(SITE)).rc == 0
    assert fetched(box) == CONTENT


def test_a_dry_run_sends_and_fetches_nothing(box: Box, hub: Hub) -> None:
    (box.folder / "bundle").mkdir()
    (box.folder / "bundle/m-1.gguf").write_bytes(CONTENT)
    box.data["folders"] = [str(box.folder / "bundle")]
    run = box.run(box.deploy(SITE), dry_run=True)
    (foreseen,) = run.finished("Fetch some-model/q4")
    assert "upload" in foreseen.diff
    assert "fetch_model" in foreseen.diff
    assert hub.asked == []
    assert TOKEN not in run.raw
    assert not (box.folder / "target").exists()


def test_a_failure_shows_its_reason_and_no_progress(box: Box, hub: Hub) -> None:
    hub.wrong.forged = {"UD/m-1.gguf"}
    run = box.run(box.deploy(SITE))
    assert run.rc == 2
    (failed,) = run.finished("Fetch some-model/q4")
    assert "is not the expected file" in failed.output
    assert "progress:" not in failed.output
    assert TOKEN not in run.raw
