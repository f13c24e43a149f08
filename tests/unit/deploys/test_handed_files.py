"""Several boxes of a batch take a large file: once from the controller, and from each other, whatever one of them does.

Each box is a folder, and its shell is the test's own; fetcher and server are the real ones. The lab has real boxes.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_server import Hub
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploys.operations import handing_on, peers
from deploys.operations.handing_on import Fetch, HaveHanded
from deploys.operations.peers import Door, Registry

FETCHER = Path(__file__).parents[3] / "templates/models/fetch_model"
CONTENT = random.Random(11).randbytes(3_000_000)  # noqa: S311 - any bytes do
BOX = "/@BOX@"  # stands in commands for the folder that is the box
DIRECTORY = f"{BOX}/models/m/q4"
FILE = {"name": "m.gguf", "path": None, "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
SECOND = FILE | {"name": "n.gguf"}


@dataclass
class Box:
    """A folder that takes commands as a box does."""

    name: str
    address: str
    root: Path
    sent: list[int] = field(default_factory=list)  # bytes of each piece from the controller
    told: list[str] = field(default_factory=list)

    def on_progress(self, text: str) -> None:
        self.told.append(text)

    def get_temp_filename(self, place: str) -> str:
        return place

    def run_shell_command(self, command: Any, **control: Any) -> tuple[bool, CommandOutput]:
        script = command.get_raw_value().replace(BOX, str(self.root))
        done = subprocess.run(
            ["timeout", str(control["_timeout"]) if "_timeout" in control else "60", "sh", "-c", script],
            input=control.get("_stdin", ""),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [OutputLine("stdout", line) for line in done.stdout.splitlines()]
        return done.returncode == 0, CommandOutput(
            lines + [OutputLine("stderr", line) for line in done.stderr.splitlines()]
        )

    def put_file(self, source: Any, place: str, **_: Any) -> bool:
        content = source.read()
        self.sent.append(len(content))
        Path(place.replace(BOX, str(self.root))).write_bytes(content)
        return True

    @property
    def weights(self) -> Path:
        return self.root / "models/m/q4/m.gguf"

    @property
    def peer(self) -> dict[str, Any]:
        enter = ["bash", "-c", f'exec bash -c "${{1//{BOX.replace("/", chr(92) + "/")}/{self.root}}}"', "ssh"]
        return {"name": self.name, "address": self.address, "enter": enter, "sudo": False}


@dataclass
class Batch:
    """Boxes, and what the controller has."""

    folder: Path
    boxes: list[Box]
    patience_s: int = 60
    urls: list[str] = field(default_factory=list)  # of the file, besides the controller's folder
    instead: dict[str, list[str]] = field(default_factory=dict)  # of ssh, by the box that is to be entered

    def take(self, box: Box, *files: dict[str, Any]) -> tuple[bool, str]:
        known = [
            one.peer | ({"enter": self.instead[one.name]} if one.name in self.instead else {}) for one in self.boxes
        ]
        wanted = files or (FILE,)
        hand_on = {
            "folder": str(self.folder / "registry"),
            "files": {f"{DIRECTORY}/{one['name']}": self.patience_s for one in wanted},
            "peers": known,
        }
        entries = [one | {"urls": self.urls, "python_packages": []} for one in wanted]
        builds = [{"directory": DIRECTORY.replace(BOX, str(box.root)), "files": entries}]
        request = {"builds": builds, "folders": [], "python_index": "", "proxy": None, "no_proxy": []}
        (box.root / "request.json").write_text(json.dumps(request))
        command = (sys.executable, "-B", str(FETCHER), f"{BOX}/request.json")
        fetch = Fetch(DIRECTORY, command, "{}", (str(self.folder / "controller"),), lambda _: 60)
        done, output = HaveHanded(fetch, wanted, hand_on).execute(SimpleNamespace(print_output=False), box, {})
        return done, output.stderr

    def all_take(self, *files: dict[str, Any]) -> list[tuple[bool, str]]:
        found: list[tuple[bool, str]] = []
        threads = [threading.Thread(target=lambda box=box: found.append(self.take(box, *files))) for box in self.boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def give(self, box: Box) -> None:
        """Let a box have the file, from before."""
        box.weights.parent.mkdir(parents=True)
        box.weights.write_bytes(CONTENT)
        Registry(self.folder / "registry", box.name).add(f"{DIRECTORY}/m.gguf")


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[[str, str], None]) -> Batch:
    stand_in("systemd-run", 'while [[ $1 == --* ]]; do shift; done\nexec "$@"')
    monkeypatch.setattr(handing_on, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(handing_on, "_TELL_EVERY_S", 0.2)
    monkeypatch.setattr(peers, "PORT", 20_000 + random.SystemRandom().randrange(9000))
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller/m.gguf").write_bytes(CONTENT)
    (tmp_path / "controller/n.gguf").write_bytes(CONTENT)
    boxes = []
    for number in range(1, 5):
        (tmp_path / f"box-{number}").mkdir()
        boxes.append(Box(f"box-{number}", f"127.0.0.{number + 1}", tmp_path / f"box-{number}"))
    made = Batch(tmp_path, boxes)
    # All addresses are of one machine here, and who asks from which is not told apart: the lab tells them apart.
    monkeypatch.setattr(handing_on, "Door", lambda peer, path, _, seconds: Door(peer, path, "127.0.0.1", seconds))
    return made


def whole(*boxes: Box) -> bool:
    return all(box.weights.read_bytes() == CONTENT for box in boxes)


def test_the_controller_sends_a_file_once_to_four_boxes_at_once(batch: Batch) -> None:
    assert batch.all_take() == [(True, "")] * 4
    assert whole(*batch.boxes)
    assert sum(sum(box.sent) for box in batch.boxes) == len(CONTENT)
    taken = [line for box in batch.boxes for line in box.told if line.startswith("takes m.gguf from box-")]
    assert len(taken) == 3


def test_two_files_come_from_the_controller_at_the_same_time(batch: Batch) -> None:
    assert batch.all_take(FILE, SECOND) == [(True, "")] * 4
    assert sum(sum(box.sent) for box in batch.boxes) == 2 * len(CONTENT)
    assert whole(*batch.boxes)


def test_where_a_box_has_it_the_controller_sends_nothing(batch: Batch) -> None:
    has, lacks = batch.boxes[:2]
    batch.give(has)
    assert batch.take(lacks) == (True, "")
    assert whole(lacks)
    assert not lacks.sent


@pytest.mark.parametrize("enter", [["false"], ["sh", "-c", "sleep 20"]], ids=["gone", "silent"])
def test_a_box_that_does_not_answer_fails_nobody(
    batch: Batch, enter: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_OPENS_S", 0.5)
    monkeypatch.setattr(peers, "_CLOSES_S", 0.2)
    has, lacks = batch.boxes[:2]
    batch.give(has)
    batch.instead[has.name] = enter
    assert batch.take(lacks) == (True, "")
    assert whole(lacks)
    assert sum(lacks.sent) == len(CONTENT)
    assert any(line.startswith(f"asks {has.name} no more") for line in lacks.told)


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"!", CONTENT[:1000], CONTENT + b"more", b""])
def test_what_a_box_hands_on_wrong_is_not_taken(batch: Batch, wrong: bytes) -> None:
    has, lacks = batch.boxes[:2]
    batch.give(has)
    has.weights.write_bytes(wrong)
    assert batch.take(lacks) == (True, "")
    assert whole(lacks)


def test_a_wrong_beginning_does_not_spoil_what_the_controller_sends(batch: Batch) -> None:
    lacks = batch.boxes[0]
    lacks.weights.parent.mkdir(parents=True)
    lacks.weights.with_name("m.gguf.part").write_bytes(b"!" * 1_000_000)
    assert batch.take(lacks) == (True, "")
    assert whole(lacks)


def test_who_waits_for_a_box_that_hangs_goes_on_alone(batch: Batch) -> None:
    batch.patience_s = 1
    hangs, waits = batch.boxes[:2]
    with Registry(batch.folder / "registry", hangs.name).first(f"{DIRECTORY}/m.gguf") as first:
        assert first
        assert batch.take(waits) == (True, "")
    assert whole(waits)
    assert any("waits for another machine" in line for line in waits.told)


def test_boxes_that_cannot_reach_each_other_take_theirs_from_the_controller(batch: Batch) -> None:
    batch.instead = {box.name: ["false"] for box in batch.boxes}
    assert batch.all_take() == [(True, "")] * 4
    assert whole(*batch.boxes)


def test_a_hub_is_asked_once_for_four_boxes(batch: Batch) -> None:
    shutil.rmtree(batch.folder / "controller")
    hub = Hub()
    try:
        batch.urls = [hub.offer("/m", CONTENT)]
        assert batch.all_take() == [(True, "")] * 4
        assert whole(*batch.boxes)
        assert hub.ranges("/m") == [None]
    finally:
        hub.close()


def test_what_nobody_has_is_a_failure_that_says_so(batch: Batch) -> None:
    shutil.rmtree(batch.folder / "controller")
    done, said = batch.take(batch.boxes[0])
    assert not done
    assert "nothing says where m.gguf comes from" in said
