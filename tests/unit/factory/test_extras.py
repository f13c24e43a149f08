"""What a lock names besides its profile: what trials and burn-ins bring, and further models."""

from __future__ import annotations

import pytest
from factory.test_offline import whole_lock

from boxwright.errors import BadInputError
from boxwright.factory.extras import Extras, burn_in_needs, chosen_extras, trial_needs
from boxwright.factory.locking import _models
from boxwright.factory.needs import needs_of
from boxwright.factory.offline import lacking
from boxwright.model.debian_packages import PYTHON_3_11
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
    extras = chosen_extras(fleet, ("models.try", "burnin", "gemma-3-270m/q4_k_m"))
    more = extras.beside(needs, fleet)
    assert set(more.packages) - set(needs.packages) == {"stress-ng", "fio", "iperf3"}
    assert [one.name for one in more.environments] == ["python", "open_webui", "try_model"]
    assert more.unpacked == needs.unpacked  # Python 3.11 is there anyway
    assert [one.name for one in more.builds][1:] == ["gemma-3-270m/q4_k_m"]
    artefacts = list(_models((*fleet.all_weights, *extras.weights), more))
    assert "gemma-3-270m/q4_k_m" in {one.name.rpartition("/")[0] for one in artefacts}


def test_a_profile_without_any_environment_gets_the_interpreter_of_a_trial(fleet: Fleet) -> None:
    bare = trial_needs("cpu", wanted_build(fleet.weights, "/srv/models", fleet.site))
    none = burn_in_needs()
    assert PYTHON_3_11 not in none.unpacked
    assert chosen_extras(fleet, ("models.try",)).beside(none, fleet).unpacked == (PYTHON_3_11,) == bare.unpacked


def test_boxes_with_cards_try_on_cards() -> None:
    real = choose(Choice(profile="8x4090", host="root@192.0.2.7"))
    (_, own) = chosen_extras(real, ("models.try",)).environments
    assert own == trial_needs("cuda", wanted_build(real.weights, "/srv/models", real.site)).environments[1]
    assert "nvidia" in own.requirements


def test_a_lock_of_the_profile_alone_lacks_what_a_trial_and_a_burn_in_bring(fleet: Fleet) -> None:
    trial = list(lacking(whole_lock(), trial_needs("cpu", wanted_build(fleet.weights, "/srv/models", fleet.site))))
    assert any(one.startswith("wheel transformers ") for one in trial)
    assert not any(one.startswith(("package", "model file")) for one in trial)
    assert set(lacking(whole_lock(), burn_in_needs())) == {
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
        chosen_extras(fleet, (name,))


def test_a_model_without_digests_is_refused_with_the_remedy(fleet: Fleet) -> None:
    model = next(one for one in fleet.catalogue.models if any(not build.pinned for build in one.builds))
    build = next(one for one in model.builds if not one.pinned)
    with pytest.raises(BadInputError, match="no digests") as told:
        chosen_extras(fleet, (f"{model.id}/{build.name}",))
    assert "models.pin" in told.value.hint
