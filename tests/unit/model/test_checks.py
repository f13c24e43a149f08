"""The names of checks that a waiver may set aside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile, load_site
from boxwright.model.checks import VERIFICATION_CHECKS
from boxwright.model.contract import ContractCheck, ProfileWaiver, Waiver
from boxwright.verification import ACCEPTANCE_SUITE

SITE = (
    "name: s\nhosts: [{name: box-1, address: 192.0.2.1}]\nwaivers:\n  - {check: %s, by: Ada, reason: because it is}\n"
)


def test_the_model_knows_the_checks_of_the_suite_and_no_other() -> None:
    suite = "\n".join(path.read_text() for path in ACCEPTANCE_SUITE.glob("test_*.py"))
    assert sorted(re.findall(r'^    id="([^"]+)"', suite, re.MULTILINE)) == sorted(VERIFICATION_CHECKS)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("cpu.cores", "cpu.cores"),
        ("contract.cpu.cores", "cpu.cores"),  # as verify writes it
        ("engine.stream", "engine.stream"),
        ("bench.throughput", "bench.throughput"),
        ("burnin.gpu_temperature", "burnin.gpu_temperature"),
    ],
)
def test_a_waiver_is_for_what_is_checked(tmp_path: Path, written: str, kept: str) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE % written)
    assert load_site(str(path)).waivers == (Waiver(check=kept, by="Ada", reason="because it is"),)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("engine.strem", "there is no check 'engine.strem'. Did you mean 'engine.stream'?"),
        ("contract.cpu.core", "Did you mean 'cpu.cores'?"),
        ("contract.engine.stream", "there is no check 'contract.engine.stream'"),
        ("everything", "there is no check 'everything'. docs/checks.md and docs/profiles.md list them."),
    ],
)
def test_a_waiver_of_what_nobody_checks_is_refused_where_it_stands(tmp_path: Path, written: str, message: str) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE % written)
    with pytest.raises(BadInputError) as caught:
        load_site(str(path))
    assert message in caught.value.message
    assert caught.value.where == f"{path}:4:6"


def test_a_profile_waives_for_every_box_of_its_kind(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(
        "name: own\nsummary: s\nhardware: {cpu: {sockets: 1, cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}\n"
        "stack: {model: smollm2-135m-instruct, engine: llama_cpp}\n"
        "waivers: [{check: disk.size, by: Ada, reason: models come over the network}]\n"
    )
    (waiver,) = load_profile(str(own)).waivers
    assert waiver == ProfileWaiver(check="disk.size", by="Ada", reason="models come over the network")
    assert waiver.covers("disk.size", "any-box")
    own.write_text(own.read_text().replace("network}", "network, hosts: [box-1]}"))
    with pytest.raises(BadInputError, match=r"unknown key 'waivers\.0\.hosts'"):
        load_profile(str(own))


def test_a_name_with_a_colon_could_not_be_told_from_its_reason() -> None:
    with pytest.raises(ValueError, match="by"):
        Waiver(check="disk.size", by="Ada: or Bob", reason="because it is")
    assert set(get_args(ContractCheck)).isdisjoint(VERIFICATION_CHECKS)
