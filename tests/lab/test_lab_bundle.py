"""From a lock to a box without any route to the internet, as a person does it, on both releases."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from bundled_box import Wire, changed
from lab_command import Boxwright, Ran
from model_switching import add_models

from boxwright.errors import Exit
from boxwright.factory.bundle import Bundle
from boxwright.factory.evidence.envelope import open_envelope
from boxwright.factory.lock import read_lock

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(2400)]

both = pytest.mark.parametrize(
    "twin_site", [("off-bookworm", "debian-12"), ("off-trixie", "debian-13")], indirect=True, ids=["12", "13"]
)


def named_by_its_evidence(told: Ran, lock: Path) -> None:
    """What the box was made from stands in its receipt, and in what is stated of it."""
    (evidence,) = told.kind("evidence")
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    used = json.loads(Path(evidence["files"]["receipt.json"]).read_text())["bundle"]
    assert (f"{used['profile']}-{used['distribution']}", used["lock"]) == (read_lock(lock).name, wanted)
    assert used["signed_at"]
    stated = open_envelope(Path(evidence["files"]["provenance.intoto.jsonl"]).read_bytes()).statement
    materials = stated["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert wanted in [one.get("digest", {}).get("sha256") for one in materials]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both releases share one bundle: what they have in common is fetched once."""
    return tmp_path_factory.mktemp("bundle")


@both
def test_a_box_without_a_route_is_made_out_of_a_bundle(boxwright: Boxwright, twin_site: str, place: Path) -> None:
    site = Path(twin_site).read_text()
    lab = site.partition("name: ")[2].split()[0]
    distribution = site.partition("distribution: ")[2].partition("}")[0]
    lock, folder = place / f"{distribution}.json", place / "bundle"

    # The lock: the same bytes twice, and no address in it.
    words = ("bundle.lock", "--profile", "lab", "--site", twin_site, "--to", str(lock))
    assert boxwright(*words).code == Exit.OK
    first = lock.read_bytes()
    again = boxwright(*words)
    assert (again.code, lock.read_bytes()) == (Exit.OK, first)
    assert b"://" not in first

    # The bundle, whole.
    fetched = boxwright("bundle.fetch", "--lock", str(lock), "--bundle", str(folder), "--site", twin_site)
    assert fetched.code == Exit.OK, fetched.text[-2000:]
    assert boxwright("bundle.verify", "--bundle", str(folder)).code == Exit.OK

    # The twin: on Debian 12 without a default route, on Debian 13 with one, so that what tries to leave is counted.
    assert boxwright("lab.up", "--profile", "lab", "--site", twin_site).code == Exit.OK
    wire = Wire.of(boxwright, lab)
    wire.count()
    if distribution == "debian-12":
        wire.cut()

    # One flipped bit: refused by name, and the twin is as it was.
    provision = ("provision", "--profile", "lab", "--site", twin_site, "--bundle", str(folder), "--yes")
    nginx = next(one for one in read_lock(lock).artefacts if one.name == "nginx")
    path = Bundle(folder).artefact(nginx.sha256)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    refused = boxwright(*provision)
    assert refused.code == Exit.ERROR
    assert f"Debian package nginx {nginx.version}" in refused.kind("error")[0]["message"]
    assert not refused.kind("event")
    told = boxwright("bundle.verify", "--bundle", str(folder))
    assert told.code == Exit.ERROR
    assert told.kind("damage")[0]["what"].startswith(f"Debian package nginx {nginx.version}")
    assert boxwright("bundle.fetch", "--lock", str(lock), "--bundle", str(folder), "--site", twin_site).code == Exit.OK
    assert path.read_bytes() == data

    # The box: made, verified, and left alone by the second run.
    ran = boxwright(*provision)
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert len(ran.kind("check")) > 30
    assert ran.odd_checks == {}
    second = boxwright(*provision)
    assert (second.code, changed(second)) == (Exit.OK, []), second.text[-3000:]
    assert [one["evidence"] for ran in (ran, second) for one in ran.kind("evidence_left")] == ["made", "kept"]
    planned = boxwright("plan", "--profile", "lab", "--site", twin_site, "--bundle", str(folder))
    assert (planned.code, planned.kind("event") != []) == (Exit.OK, True), planned.text[-3000:]

    told = boxwright("evidence", "--profile", "lab", "--site", twin_site, "--to", str(place))
    named_by_its_evidence(told, lock)

    # Nothing tried to leave; and had it, it would have been seen.
    assert wire.counted() == {}
    if distribution == "debian-13":
        probe = ("curl", "--max-time", "2", "--silent", "http://192.0.2.1/")
        with pytest.raises(subprocess.CalledProcessError):
            wire.run(wire.twin, *probe)
        assert set(wire.counted()) == {"elsewhere"}


@pytest.mark.parametrize("twin_site", [("off-bookworm", "debian-12")], indirect=True, ids=["12"])
def test_another_machine_of_the_line_that_does_not_answer_keeps_this_one_from_nothing(
    boxwright: Boxwright, twin_site: str, place: Path
) -> None:
    """On the box of the test above, which its site knows as it knows a server."""
    lab, wire = "off-bookworm", Wire.of(boxwright, "off-bookworm")
    home, line = Path(boxwright.environment["BOXWRIGHT_STATE"], "lab", lab), place / "line.yml"
    line.write_text(
        f"name: {lab}\nssh: {{key: {home}/id_ed25519, known_hosts: {home}/known_hosts, connect_timeout_s: 5}}\n"
        f"hosts: [{{name: {lab}-1, address: {wire.subnet}.10}}, {{name: gone, address: {wire.subnet}.250}}]\n"
    )
    partly = boxwright("plan", "--profile", "lab", "--site", str(line), "--bundle", str(place / "bundle"))
    assert partly.code == Exit.PARTIAL, partly.text[-3000:]
    assert {event["host"] for event in partly.kind("event")} == {f"{lab}-1"}
    assert [error["where"] for error in partly.kind("error")] == ["gone"]


@pytest.mark.parametrize("twin_site", [("off-bookworm", "debian-12")], indirect=True, ids=["12"])
def test_models_are_tried_and_switched_there_and_the_box_is_burned_in(
    boxwright: Boxwright, twin_site: str, place: Path
) -> None:
    """On the box of the test above."""
    wire = Wire.of(boxwright, "off-bookworm")
    lock, folder = place / "more.json", place / "bundle"
    words, offline = ("--profile", "lab", "--site", twin_site), ("--bundle", str(folder))

    # The bundle of the profile alone lacks what a trial takes, and says how it is locked.
    refused = boxwright("models.try", *words, *offline)
    assert refused.code == Exit.BAD_INPUT
    assert "wheel gradio" in refused.kind("error")[0]["message"]
    assert "--also models.try" in refused.kind("error")[0]["hint"]

    assert boxwright("bundle.lock", *words, "--also", "models.try,burnin", "--to", str(lock)).code == Exit.OK
    fetched = boxwright("bundle.fetch", "--lock", str(lock), *offline, "--site", twin_site)
    assert fetched.code == Exit.OK, fetched.text[-2000:]
    based = boxwright("provision", *words, *offline, "--stages", "base", "--yes")
    assert based.code == Exit.OK, based.text[-2000:]

    tried = boxwright("models.try", *words, *offline)
    assert tried.code == Exit.OK, tried.text[-3000:]
    assert "Paris" in tried.kind("trial_answer")[0]["answer"]
    burned = boxwright("burnin", *words, *offline, "--minutes", "0.2", "--only", "cpu")
    assert burned.code == Exit.OK, burned.text[-3000:]
    add_models(Path(twin_site), place)
    switched = boxwright("models.switch", *words, *offline, "--model", "again", "--yes")
    assert switched.code == Exit.OK, switched.text[-3000:]
    assert "made" in [one["evidence"] for one in switched.kind("evidence_left")]
    assert wire.counted() == {}
