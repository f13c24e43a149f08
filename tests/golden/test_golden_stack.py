"""The files that the engines' deploys write for every profile, on each of its hosts, held against files that a person
has read: units, drop-ins, rules, and what the engines are told.

After a change that is meant: `BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stack_projection import SECRETS, given, names

from boxwright.model.catalogues import load_profile, profile_names
from boxwright.places import ROOT

HERE = Path(__file__).parent
READ = HERE / "stack"
KEYS = ("/api-key", "/token")  # secrets, alone in their files


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """What is written for each profile, host by host, in one text."""
    jobs = [(name, one) for name in names() for one in given(name)]
    asked = json.dumps([{"deploy": one.deploy, "data": one.data} for _, one in jobs])
    command = [sys.executable, str(HERE / "written_files.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # deploys are in no package that is installed
    done = subprocess.run(command, cwd=ROOT, env=environment, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    texts = dict.fromkeys(names(), "")
    for (name, one), files in zip(jobs, json.loads(done.stdout), strict=True):
        for path, text in files.items():
            if path.startswith("/etc/") and not path.endswith(KEYS):
                texts[name] += f"======== {one.host} {path}\n{text}\n"
    return texts


@pytest.mark.parametrize("name", names())
def test_what_the_deploys_write_is_as_read(name: str, written: dict[str, str]) -> None:
    path, text = READ / f"{name}.txt", written[name]
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_profile_with_cards_has_a_unit_on_each_of_its_hosts(written: dict[str, str]) -> None:
    for name in profile_names():
        profile = load_profile(name)
        if profile.hardware.accelerators and name != "8xk100ai":  # nobody publishes an engine for Hygon's cards
            for number in range(1, profile.nodes + 1):
                assert f"======== box-{number} /etc/systemd/system/" in written[name], name
    assert "/etc/systemd/system/ray.service\n" in written["2x8xh20-ray"]


def test_the_key_stands_in_no_unit(written: dict[str, str]) -> None:
    key = SECRETS.engine_key.get_secret_value()
    parts = [part for text in written.values() for part in text.split("======== ")[1:]]
    assert [part.split("\n")[0] for part in parts if key in part and not part.split("\n")[0].endswith(".yaml")] == []


def test_no_file_is_left_of_a_profile_that_is_gone() -> None:
    assert {path.stem for path in READ.glob("*.txt")} == set(names())
