"""What a lock names besides its profile: what trials and burn-ins bring, and further models."""

from __future__ import annotations

from pathlib import Path

import pytest
from factory.test_offline import whole_lock

from boxwright.errors import BadInputError
from boxwright.factory.card_sources import kept_source
from boxwright.factory.extras import Extras, burn_in_needs, chosen_extras, trial_needs
from boxwright.factory.lock import Lock
from boxwright.factory.locking import _file, _models
from boxwright.factory.needs import Needs, needs_of
from boxwright.factory.nix_tree import digest, packed
from boxwright.factory.offline import lacking
from boxwright.factory.origins import origins
from boxwright.factory.source_tree import Tree
from boxwright.factory.wheels import Index
from boxwright.mirrors import resolve
from boxwright.model.card_programs import CARD_PROGRAMS, CardProgram
from boxwright.model.debian_packages import CARD_COMPILERS, PYTHON_3_11
from boxwright.model.fleet import Fleet
from boxwright.planning.weights import wanted_build
from boxwright.provisioning.target import Choice, choose


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return choose(Choice(profile="lab"))


def test_nothing_besides_is_what_the_profile_needs(fleet: Fleet) -> None:
    needs = needs_of(fleet, "debian-12")
    assert Extras().beside(needs, fleet) == needs


def test_verbs_and_models_are_added_to_it(fleet: Fleet) -> None:
    needs = needs_of(fleet, "debian-12")
    extras = chosen_extras(fleet, ("models.try", "burnin", "gemma-3-270m/q4_k_m"), "debian-12", print)
    more = extras.beside(needs, fleet)
    assert set(more.packages) - set(needs.packages) == {"stress-ng", "fio", "iperf3"}
    assert [one.name for one in more.environments] == ["python", "open_webui", "try_model"]
    assert more.unpacked == needs.unpacked  # Python 3.11 is there anyway
    assert [one.name for one in more.builds][1:] == ["gemma-3-270m/q4_k_m"]
    artefacts = list(_models((*fleet.all_weights, *extras.weights), more))
    assert "gemma-3-270m/q4_k_m" in {one.name.rpartition("/")[0] for one in artefacts}


def test_a_profile_without_any_environment_gets_the_interpreter_of_a_trial(fleet: Fleet) -> None:
    bare = trial_needs("cpu", wanted_build(fleet.weights, "/srv/models", fleet.site))
    none = burn_in_needs(fleet, "debian-12")
    assert PYTHON_3_11 not in none.unpacked
    assert (
        chosen_extras(fleet, ("models.try",), "debian-12", print).beside(none, fleet).unpacked
        == (PYTHON_3_11,)
        == bare.unpacked
    )


def test_boxes_with_cards_try_on_cards() -> None:
    real = choose(Choice(profile="8x4090", host="root@192.0.2.7"))
    (_, own) = chosen_extras(real, ("models.try",), "debian-12", print).environments
    assert own == trial_needs("cuda", wanted_build(real.weights, "/srv/models", real.site)).environments[1]
    assert "nvidia" in own.requirements


def test_a_lock_of_the_profile_alone_lacks_what_a_trial_and_a_burn_in_bring(fleet: Fleet) -> None:
    trial = list(lacking(whole_lock(), trial_needs("cpu", wanted_build(fleet.weights, "/srv/models", fleet.site))))
    assert any(one.startswith("wheel transformers ") for one in trial)
    assert not any(one.startswith(("package", "model file")) for one in trial)
    assert set(lacking(whole_lock(), burn_in_needs(fleet, "debian-12"))) == {
        f"package {name} (platform)" for name in ("stress-ng", "fio", "iperf3")
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("model.try", "no 'model.try'.*models.try"),
        ("gemma", "no 'gemma'"),
        ("deepseek-r1", "which build of deepseek-r1"),
        ("smollm2/q5", "which build of smollm2"),
    ],
)
def test_what_there_is_not_is_refused_by_name(fleet: Fleet, name: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        chosen_extras(fleet, (name,), "debian-12", print)


def test_a_model_without_digests_is_refused_with_the_remedy(fleet: Fleet) -> None:
    model = next(one for one in fleet.catalogue.models if any(not build.pinned for build in one.builds))
    build = next(one for one in model.builds if not one.pinned)
    with pytest.raises(BadInputError, match="no digests") as told:
        chosen_extras(fleet, (f"{model.id}/{build.name}",), "debian-12", print)
    assert "models.pin" in told.value.hint


CARDS = {"libnccl2", "libnccl-dev"}
DIAGNOSTICS = {
    "datacenter-gpu-manager-4-cuda13",
    "datacenter-gpu-manager-4-proprietary",
    "datacenter-gpu-manager-4-proprietary-cuda13",
}


@pytest.mark.parametrize(
    ("profile", "packages", "pin"),
    [
        ("8x4090", CARDS, "cuda13"),
        ("2xa100", CARDS | DIAGNOSTICS, "cuda13"),
        ("1xv100", CARDS | {one.replace("cuda13", "cuda12") for one in DIAGNOSTICS}, "cuda12"),
    ],
)
def test_a_burn_in_of_cards_brings_nccl_of_their_cuda_and_diagnostics_where_these_look(
    profile: str, packages: set[str], pin: str
) -> None:
    real = choose(Choice(profile=profile, host="root@192.0.2.7"))
    needs = burn_in_needs(real, "debian-12")
    assert set(needs.vendors.packages) == packages
    assert f"Pin: version /[+]{pin}[.]/\n" in needs.vendors.preferences["burn-in"]
    assert needs.vendors.repositories["nvidia"].key_fingerprint == "EB693B3035CD5710E231E123A4B469963BF863CC"
    assert needs.unpacked == (CARD_COMPILERS,)
    with_cards = needs_of(choose(Choice(profile="lab")), "debian-12")
    assert Extras(vendors=needs.vendors).beside(with_cards, real).vendors.packages == needs.vendors.packages


def test_a_burn_in_of_others_cards_brings_nothing_for_them() -> None:
    for profile in ("8xmi300x", "8x910b", "lab"):
        assert burn_in_needs(choose(Choice(profile=profile)), "debian-12") == Needs(
            packages=("stress-ng", "fio", "iperf3")
        )


def test_the_source_of_what_is_built_for_cards_is_in_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of SIMULATED programs: archives that lie in the controller's cache."""
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path))
    made = [simulated(one, tmp_path) for one in CARD_PROGRAMS]
    monkeypatch.setattr("boxwright.factory.extras.CARD_PROGRAMS", made)
    monkeypatch.setattr("boxwright.factory.origins.CARD_PROGRAMS", made)
    real = choose(Choice(profile="8x4090", host="root@192.0.2.7"))
    files = chosen_extras(real, ("burnin",), "debian-12", print).files
    assert [(one.name, one.kind, one.used_by) for one in files] == [
        (one.name, "source", "card_programs") for one in CARD_PROGRAMS
    ]
    with Index(resolve(real.site.mirrors)) as index:
        artefacts = [_file(index, one) for one in files]
    assert all(one.tree and one.size for one in artefacts)
    lock = Lock(profile="8x4090", distribution="debian-12", artefacts=tuple(artefacts))
    found = origins(artefacts, lock, real.site, resolve(real.site.mirrors), catalogue=real.catalogue, progress=print)
    assert [Path(url).read_bytes()[:9] for one in found for url in one.urls] == [
        b"gpu-burn-",
        b"nvbandwid",
        b"nccl-test",
    ]


def simulated(program: CardProgram, cache: Path) -> CardProgram:
    """The same program with a source of one file, which the controller has."""
    tree: Tree = {"main.cpp": ("file", program.name.encode())}
    place = kept_source(program)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(packed(tree, "any"))
    return program.model_copy(update={"tree": digest(tree)})
