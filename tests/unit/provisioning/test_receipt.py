"""The receipt on the box: true after a run of some stages, and left alone when only time has passed."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from targets import target

from boxwright.model.contract import Waiver
from boxwright.planning.stages import stages_of
from boxwright.provisioning import remote_receipt
from boxwright.provisioning.receipt import Run, receipt, write_receipt
from boxwright.provisioning.remote_receipt import merged
from boxwright.reports.certificate import Receipt, UsedBundle

ALL = ("base", "kernel", "gateway", "models", "llama_cpp")
OLD, NEW = {"model.gguf": "sha256:old"}, {"model.gguf": "sha256:new"}


def news(*stages: str, profile: str = "lab", digests: dict[str, str] = NEW, **more: Any) -> dict[str, Any]:
    return {"all_stages": list(ALL), "stages": list(stages), "profile": profile, "digests": digests, **more}


def on_box(path: Path, told: dict[str, Any]) -> None:
    """Run the program as a box runs it: by a bare Python, from its source."""
    argv = [sys.executable, "-I", "-S", "-c", inspect.getsource(remote_receipt), str(path)]
    subprocess.run(argv, input=json.dumps(told), text=True, check=True, timeout=30)


def test_the_controller_tells_what_was_ordered() -> None:
    waiver = Waiver(check="pcie.width", by="Ada", reason="the riser is on its way")
    fleet = target("box-1", waivers=(waiver,)).fleet
    told = receipt(fleet, fleet.hosts[0], ["base"], Run("r1", "2026-01-01T00:00:00Z", "abc"))
    assert (told["run"], told["started_at"], told["source_revision"]) == ("r1", "2026-01-01T00:00:00Z", "abc")
    assert (told["profile"], told["site"], told["host"], told["stages"]) == ("lab", "s", "box-1", ["base"])
    assert told["all_stages"] == [stage.name for stage in stages_of(fleet)]
    assert told["digests"] == {file.name: f"sha256:{file.sha256}" for file in fleet.weights.build.files}
    assert told["waivers"] == [waiver.model_dump(mode="json")]


def test_a_run_of_some_stages_keeps_what_the_run_before_has_left() -> None:
    first = merged(news("base", "models", "llama_cpp", digests=OLD), {})
    second = merged(news("kernel"), first)
    assert second["stages"] == ["base", "kernel", "models", "llama_cpp"]  # in their order on the way
    assert "all_stages" not in second


def test_digests_are_those_of_the_files_that_were_fetched() -> None:
    assert merged(news("base"), {})["digests"] == {}  # nothing was fetched yet
    fetched = merged(news("models", digests=OLD), {})
    assert fetched["digests"] == OLD
    # The profile names another model since, and this run does not fetch it.
    assert merged(news("gateway"), fetched)["digests"] == OLD
    assert merged(news("models"), fetched)["digests"] == NEW


def test_a_box_that_became_another_kind_starts_over() -> None:
    before = merged(news(*ALL, profile="lab", digests=OLD), {})
    after = merged(news("base", profile="8x4090"), before)
    assert after["stages"] == ["base"]
    assert after["digests"] == {}


def test_a_stage_that_the_profile_has_no_more_is_forgotten() -> None:
    before = merged(news(*ALL), {}) | {"stages": ["base", "rdma"]}
    assert merged(news("kernel"), before)["stages"] == ["base", "kernel"]


BUNDLE, OTHER = ({"lock": digest * 64, "profile": "lab", "distribution": "debian-12"} for digest in "ab")


def test_the_bundle_of_a_run_is_named() -> None:
    fleet = target("box-1").fleet
    used = UsedBundle.model_validate(BUNDLE | {"signed_at": "2026-11-28T09:00:00Z"})
    told = receipt(fleet, fleet.hosts[0], ["base"], Run(bundle=used))
    assert Receipt.model_validate({**told, "provisioned_at": "2026-11-28T09:30:00Z"}).bundle == used
    assert receipt(fleet, fleet.hosts[0], ["base"])["bundle"] is None


def test_a_bundle_is_forgotten_by_a_whole_run_without_one_alone() -> None:
    first = merged(news(*ALL, bundle=BUNDLE), {})
    assert first["bundle"] == BUNDLE
    assert merged(news("base", bundle=None), first)["bundle"] == BUNDLE
    assert merged(news("base", bundle=OTHER), first)["bundle"] == OTHER
    assert merged(news(*ALL, bundle=None), first)["bundle"] is None


@pytest.mark.usefixtures("dpkg")
def test_a_bundle_that_was_signed_anew_is_no_other(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    on_box(path, news(*ALL, bundle=BUNDLE | {"signed_at": "2026-01-01T00:00:00Z"}))
    written = path.read_bytes()
    on_box(path, news(*ALL, bundle=BUNDLE | {"signed_at": "2026-02-02T00:00:00Z"}))
    assert path.read_bytes() == written
    on_box(path, news(*ALL, bundle=OTHER))
    assert json.loads(path.read_text())["bundle"] == OTHER


@pytest.mark.usefixtures("dpkg")
def test_a_receipt_of_an_older_boxwright_names_none_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    on_box(path, news(*ALL, bundle=None))
    older = {name: value for name, value in json.loads(path.read_text()).items() if name != "bundle"}
    path.write_text(json.dumps(older))
    on_box(path, news(*ALL, bundle=None))
    assert json.loads(path.read_text()) == older


@pytest.fixture
def dpkg(stand_in: Callable[[str, str], None]) -> None:
    rows = (
        "installed\\tnginx\\t1.22.1-9\\tsmall web server\\n"
        "config-files\\tprometheus\\t2.42\\tmonitoring\\n"
        "installed\\tdocker-ce\\t5:28.0\\tSIMULATED: drives nothing\\n"
    )
    stand_in("dpkg-query", f"printf '{rows}'; echo 'no packages found matching amdgpu-dkms' >&2; exit 1")


@pytest.mark.usefixtures("dpkg")
def test_the_box_adds_its_versions_and_says_which_are_simulated(tmp_path: Path) -> None:
    path = tmp_path / "boxwright" / "receipt.json"
    on_box(path, news("base", by="ada@desk", provisioned_at="2026-01-02T03:04:05Z"))
    versions = json.loads(path.read_text())["versions"]
    assert (versions["nginx"], versions["docker-ce"]) == ("1.22.1-9", "5:28.0, SIMULATED")
    assert versions["kernel"] == os.uname().release
    assert "prometheus" not in versions
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["receipt.json"]


@pytest.mark.usefixtures("dpkg")
def test_it_is_left_alone_when_only_time_and_person_differ(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    on_box(path, news("base", by="ada@desk", provisioned_at="2026-01-02T03:04:05Z"))
    written = (path.stat().st_ino, path.stat().st_mtime_ns)
    passing = {"run": "r2", "started_at": "2026-02-02T03:00:00Z", "source_revision": "abc"}
    on_box(path, news("base", by="bob@bench", provisioned_at="2026-02-02T03:04:05Z", **passing))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == written
    on_box(path, news("kernel", by="bob@bench", provisioned_at="2026-03-02T03:04:05Z"))
    after = json.loads(path.read_text())
    assert (after["by"], after["stages"]) == ("bob@bench", ["base", "kernel"])


@pytest.mark.usefixtures("dpkg")
@pytest.mark.parametrize("broken", ["", "{", "[]", '"lab"'])
def test_a_broken_receipt_is_written_anew(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(broken)
    on_box(path, news("base"))
    assert json.loads(path.read_text())["stages"] == ["base"]


def test_it_is_sent_to_the_box_with_its_path_and_reads_the_news_on_its_input(
    stand_in: Callable[[str, str], None], own_places: Path, tmp_path: Path
) -> None:
    stand_in("python3", f'printf "%s\\n" "${{@: -1}}" >{tmp_path}/argv; cat >{tmp_path}/stdin')
    stand_in("ssh", 'eval "exec ${!#}"')
    sent = target("box-1")
    (host,) = sent.fleet.hosts
    write_receipt(sent.endpoint(host), sent.fleet, host, ["base"])
    assert (tmp_path / "argv").read_text() == "/etc/boxwright/receipt.json\n"
    assert json.loads((tmp_path / "stdin").read_text())["host"] == "box-1"
