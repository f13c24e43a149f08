"""Evidence is made where the box has changed or its evidence has, and is else kept; the bundle is told in it."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from factory.bundles import lock_of
from factory.evidence.made_inventories import RECEIPT as TOLD
from factory.evidence.made_inventories import told
from targets import target

from boxwright.console import Console
from boxwright.errors import BoxwrightError
from boxwright.factory import kept_locks
from boxwright.factory.evidence.envelope import open_envelope
from boxwright.factory.evidence.names import BILL, PROVENANCE, RECEIPT
from boxwright.factory.lock import Lock
from boxwright.provisioning import left_evidence
from boxwright.provisioning.left_evidence import Evidence, leave_evidence
from boxwright.provisioning.target import Target
from boxwright.signing import SigningKey

# The box's Python: what it tells lies in files of the test, and what is placed there is placed by the real program.
PYTHON = """
case "$4" in
  *"told much sooner"*) cd {box}/etc && {python} -c '
import hashlib, json, pathlib
files = {{n: hashlib.sha256(pathlib.Path(n).read_bytes()).hexdigest() if pathlib.Path(n).exists() else ""
         for n in ("receipt.json", "sbom.cdx.json", "provenance.intoto.jsonl")}}
print(json.dumps({{"state": pathlib.Path("../state").read_text(), "files": files}}))' ;;
  *"tells everything that is installed"*) echo asked >>{box}/inventories; cat {box}/inventory ;;
  *) exec {python} -I -S -c "$4" {box}/etc ;;
esac
"""


class Box:
    """A box on the other side of a stand-in for ssh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target: Target = target("box-1")
        (folder / "etc").mkdir(parents=True)
        self.becomes("a", TOLD)

    def becomes(self, state: str, receipt: dict[str, Any]) -> None:
        text = json.dumps(receipt)
        (self.folder / "state").write_text(state)
        (self.folder / "etc/receipt.json").write_text(text)
        (self.folder / "inventory").write_text(json.dumps(told(receipt=text)))

    @property
    def inventories(self) -> int:
        path = self.folder / "inventories"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def leave(self, key: SigningKey) -> str:
        (host,) = self.target.fleet.hosts
        return leave_evidence(self.target, host, key)

    @property
    def dependencies(self) -> dict[str, Any]:
        statement = open_envelope((self.folder / "etc" / PROVENANCE).read_bytes()).statement
        rows = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        return {one.get("name") or one["uri"]: one for one in rows}


@pytest.fixture
def box(tmp_path: Path, stand_in: Callable[[str, str], None], own_places: Path) -> Box:
    stand_in("python3", PYTHON.format(box=tmp_path / "box", python=sys.executable))
    stand_in("ssh", 'eval "exec ${!#}"')
    return Box(tmp_path / "box")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.kept_in(tmp_path / "signing")


@pytest.fixture(autouse=True)
def _makers_as_they_are() -> Iterator[None]:
    yield
    left_evidence._makers.cache_clear()


def test_a_box_that_stayed_the_same_keeps_its_evidence_unread(box: Box, key: SigningKey) -> None:
    assert box.leave(key) == "made"
    files = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (box.folder / "etc").iterdir()}
    assert set(files) == {BILL, PROVENANCE, RECEIPT}
    assert box.leave(key) == "kept"
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (box.folder / "etc").iterdir()} == files
    assert box.inventories == 1


def test_a_box_that_changed_gets_new_evidence(box: Box, key: SigningKey) -> None:
    box.leave(key)
    box.becomes("b", {**TOLD, "run": "another"})
    before = (box.folder / "etc" / PROVENANCE).read_bytes()
    assert box.leave(key) == "made"
    assert (box.folder / "etc" / PROVENANCE).read_bytes() != before
    assert box.leave(key) == "kept"


@pytest.mark.parametrize("answer", ["This account is not available.", "{}", '{"state": 1, "files": []}'])
def test_a_box_that_answers_with_something_else_fails_alone(
    box: Box, key: SigningKey, stand_in: Callable[[str, str], None], answer: str
) -> None:
    stand_in("ssh", f"echo '{answer}'")
    with pytest.raises(BoxwrightError, match="box-1: what the box told of itself cannot be read"):
        box.leave(key)


def _meddle(box: Box, key: SigningKey) -> SigningKey:
    (box.folder / "etc" / BILL).write_text("{}")
    return key


def _remove(box: Box, key: SigningKey) -> SigningKey:
    (box.folder / "etc" / PROVENANCE).unlink()
    return key


def _forget(box: Box, key: SigningKey) -> SigningKey:
    (host,) = box.target.fleet.hosts
    left_evidence._place(box.target, host).write_text("{")
    return key


def _another_key(box: Box, key: SigningKey) -> SigningKey:
    return SigningKey.kept_in(box.folder / "another")


@pytest.mark.parametrize("change", [_meddle, _remove, _forget, _another_key])
def test_so_does_one_whose_evidence_is_another_or_is_not_ours(
    box: Box, key: SigningKey, change: Callable[[Box, SigningKey], SigningKey]
) -> None:
    box.leave(key)
    key = change(box, key)
    assert box.leave(key) == "made"
    opened = open_envelope((box.folder / "etc" / PROVENANCE).read_bytes())
    assert opened.key == key.public
    digest = hashlib.sha256((box.folder / "etc" / BILL).read_bytes()).hexdigest()
    assert {"name": BILL, "digest": {"sha256": digest}} in opened.statement["subject"]
    assert box.leave(key) == "kept"


def test_another_boxwright_makes_it_anew(box: Box, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    box.leave(key)
    monkeypatch.setattr(left_evidence, "_makers", lambda: "of another release")
    assert box.leave(key) == "made"


def test_the_lock_of_the_bundle_gives_its_digests_and_is_named(box: Box, key: SigningKey) -> None:
    one = lock_of().artefacts[0].model_copy(update={"name": "typing-extensions", "version": "4.15.0"})
    lock = Lock(profile="lab", distribution="debian-12", artefacts=(one,))
    used = {
        "profile": "lab", "distribution": "debian-12", "lock": lock.sha256, "signed_at": "2026-11-28T09:00:00Z",
        "signing_key": key.public.fingerprint,
    }  # fmt: skip
    box.becomes("a", {**TOLD, "bundle": used})
    box.leave(key)
    assert "digest" not in box.dependencies["pkg:pypi/typing-extensions@4.15.0"]  # this controller has no such lock
    assert box.dependencies["lab-debian-12.lock.json"] == {
        "name": "lab-debian-12.lock.json",
        "digest": {"sha256": lock.sha256},
        "annotations": {"signedOn": "2026-11-28T09:00:00Z", "signedBy": key.public.fingerprint},
    }
    kept_locks.keep(lock)
    box.becomes("b", {**TOLD, "bundle": used})
    assert box.leave(key) == "made"
    assert box.dependencies["pkg:pypi/typing-extensions@4.15.0"]["digest"] == {"sha256": one.sha256}


def test_a_run_says_which_it_was(box: Box, key: SigningKey) -> None:
    (host,) = box.target.fleet.hosts
    for words, what in (("made anew", "made"), ("kept, as nothing that it is made of has changed", "kept")):
        evidence = Evidence(box.target, key)
        evidence(host)
        told, lines = io.StringIO(), io.StringIO()
        evidence.show(Console(stdout=told, width=200))
        evidence.show(Console(json=True, stdout=lines))
        assert f"Evidence of box-1: {words}" in told.getvalue()
        assert {"type": "evidence_left", "host": "box-1", "evidence": what} in map(
            json.loads, lines.getvalue().splitlines()
        )
