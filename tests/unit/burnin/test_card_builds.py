"""What a burn-in brings for cards: which programs, built how, and what is said where their source cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.burnin import unit
from boxwright.burnin.card_builds import card_builds, targets_of
from boxwright.burnin.target import BUILD, INSTALL, BurnInTarget, CardProgramsVariables, for_cards
from boxwright.burnin.wish import Wish
from boxwright.mirrors import resolve
from boxwright.model.fleet import Fleet
from boxwright.model.site import Mirrors
from boxwright.model.variables import BurnInVariables
from boxwright.provisioning.target import Choice, Target, choose

NOWHERE = "http://127.0.0.1:9"  # nobody listens there
ALL = Wish(("cpu", "gpu"), 60)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))


def fleet(profile: str) -> Fleet:
    made = choose(Choice(profile=profile, host="root@192.0.2.7"))
    mirrors = made.site.mirrors.model_copy(update={"github": NOWHERE})
    return made.model_copy(update={"site": made.site.model_copy(update={"mirrors": mirrors})})


def target(made: Fleet) -> Target:
    return Target(fleet=made, secrets={}, mirrors=resolve(Mirrors()), certificates=(), chain=None)


@pytest.mark.parametrize(
    ("profile", "architectures", "folder"),
    [
        ("8x4090", "89-real", "/usr/local/cuda-13.0"),
        ("8x5090", "120-real", "/usr/local/cuda-13.0"),
        ("1xv100", "70-real", "/usr/local/cuda-12.9"),
    ],
)
def test_programs_are_built_for_the_cards_with_the_toolkit_of_the_box(
    profile: str, architectures: str, folder: str
) -> None:
    brought = for_cards(fleet(profile), ALL, print)
    assert brought
    assert [one.program for one in brought.builds] == ["gpu_burn", "nvbandwidth", "all_reduce_perf"]
    for one in brought.builds:
        assert f"-DCMAKE_CUDA_ARCHITECTURES={architectures}" in one.cmake
        assert f"-DCMAKE_CUDA_COMPILER={folder}/bin/nvcc" in one.cmake
        assert one.mounts == (folder,)
    assert [bool(one.copied) for one in brought.builds] == [False, False, True]  # of the box's NCCL
    assert brought.builds[0].made == ("gpu_burn", "compare.fatbin")


def test_cards_of_two_kinds_are_both_compiled_for() -> None:
    (first, *_) = card_builds(("sm_90", "sm_80"), "13.0", {}, {})
    assert "-DCMAKE_CUDA_ARCHITECTURES=80-real;90-real" in first.cmake


def test_targets_are_of_the_catalogue() -> None:
    made = fleet("8x4090")
    assert targets_of(made.profile, made.accelerators) == ("sm_89",)


def test_a_source_that_cannot_be_had_is_told_with_the_ways_out_and_stops_nobody_who_has_the_program() -> None:
    told: list[str] = []
    brought = for_cards(fleet("8x4090"), ALL, told.append)
    assert brought
    first = brought.builds[0]
    assert first.source is None
    assert told[0] == "Fetching the source of gpu-burn 2026-05-27 …"
    for said in ("gpu-burn 2026-05-27 cannot be fetched", NOWHERE, "mirrors.github", "--only cpu,memory,disk,network"):
        assert said in first.lacking


def test_cards_of_other_makers_get_nothing() -> None:
    assert for_cards(fleet("8xmi300x"), ALL, print) is None


def test_a_burn_in_without_cards_brings_nothing_for_them() -> None:
    assert for_cards(fleet("8x4090"), Wish(("cpu", "memory"), 60), print) is None


def test_twins_get_the_packages_and_no_build() -> None:
    made = choose(Choice(profile="8x4090", site="lab"))
    assert made.site.twin
    brought = for_cards(made, ALL, print)
    assert brought
    assert (brought.builds, brought.role.cuda) == ((), "13.0")
    assert BurnInTarget.of(target(made), "present", brought).stages == (INSTALL,)


def test_the_role_and_the_deploy_are_given_it_before_and_nothing_behind() -> None:
    made = fleet("2xa100")
    before = BurnInTarget.of(target(made), "present", for_cards(made, ALL, print))
    behind = BurnInTarget.of(target(made), "absent")
    assert (before.stages, behind.stages) == ((INSTALL, BUILD), (INSTALL,))
    (host,) = made.hosts
    (role,), (deploy,) = before.variables(host)
    assert isinstance(role, BurnInVariables)
    assert (role.cuda, role.diagnostics) == ("13.0", True)
    assert isinstance(deploy, CardProgramsVariables)
    assert behind.variables(host) == ((BurnInVariables(state="absent"),), ())


def test_what_a_person_put_on_a_box_goes_before_what_was_built() -> None:
    places = unit.PATH.split(":")
    assert places.index("/opt/gpu-burn") < places.index("/opt/boxwright/card-programs/gpu-burn/current/bin")
    assert {"/usr/local/bin", "/opt/boxwright/card-programs/nccl-tests/current/bin"} <= set(places)
