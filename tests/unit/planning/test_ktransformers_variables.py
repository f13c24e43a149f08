"""What the deploy of KTransformers is given, on a box and on a twin of it."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.deploy_variables import KtransformersVariables
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Mirrors, Site, TwinSettings
from boxwright.planning.ktransformers_variables import ktransformers_variables
from boxwright.planning.stages import stages_of
from boxwright.planning.variables import deploy_variables
from boxwright.vault import SECRET_NAMES, HostSecrets

SECRETS = HostSecrets(**{name: SecretStr(name * 3) for name in SECRET_NAMES})
MIRRORS = Mirrors(debian="http://m.example/d", debian_security="http://m.example/s", python_index="http://m.example/p")


def fleet(twin: bool = False, **stack: Any) -> Fleet:
    profile = load_profile("1x4090-kt")
    profile = Profile.model_validate(profile.model_dump() | {"stack": profile.stack.model_dump() | stack})
    site = Site(name="s", hosts=(Host(name="b", address="192.0.2.1"),), twin=TwinSettings() if twin else None)
    return make_fleet(profile, site, load_models(), load_accelerators())


def given(made: Fleet) -> KtransformersVariables:
    found = ktransformers_variables(made, SECRETS, MIRRORS)
    assert found
    return found


def test_amx_weights_are_made_of_what_the_cards_are_given_and_lie_beside_it() -> None:
    (service,) = given(fleet()).services
    assert service.converted
    assert (service.model_path, service.experts_path) == (
        "/srv/models/deepseek-r1-0528/fp8",
        "/srv/models/deepseek-r1-0528/fp8-amxint4",
    )


def test_experts_of_a_gguf_go_with_the_published_rest() -> None:
    made = fleet(build="ud-q2_k_xl")
    (service,) = given(made).services
    assert (service.method, service.converted) == ("LLAMAFILE", False)
    assert (service.model_path, service.experts_path) == (
        "/srv/models/deepseek-r1-0528/fp8",
        "/srv/models/deepseek-r1-0528/ud-q2_k_xl",
    )
    assert [weights.build.name for weights in made.all_weights][:2] == ["fp8", "ud-q2_k_xl"]
    assert "deepseek-r1-0528/fp8 is not fetched" in made.without_stack


def test_experts_that_are_read_as_published_lie_with_the_rest() -> None:
    (service,) = given(fleet(engine_settings={"kt-method": "FP8", "kt-num-gpu-experts": 0})).services
    assert service.experts_path == service.model_path
    assert not service.converted


def test_variables_of_the_profile_are_no_arguments() -> None:
    settings = {"kt-num-gpu-experts": 0, "KT_KERNEL_CPU_VARIANT": "avx512_bf16"}
    told = given(fleet(engine_settings=settings))
    assert told.kernels == "avx512_bf16"
    assert told.services[0].environment["KT_KERNEL_CPU_VARIANT"] == "avx512_bf16"
    assert not [word for word in told.services[0].arguments if "KT_KERNEL" in word]


def test_the_key_is_no_argument() -> None:
    told = given(fleet())
    words = [*told.services[0].arguments, *told.services[0].environment.values()]
    assert not [word for word in words if SECRETS.engine_key.get_secret_value() in word]


def test_a_twin_is_given_the_kernels_and_nothing_to_serve() -> None:
    twin = fleet(twin=True)
    assert "no engine computes" in twin.without_stack
    assert [stage.name for stage in stages_of(twin) if stage.engine == "pyinfra"] == ["ktransformers"]
    (only,) = deploy_variables(twin, twin.hosts[0], SECRETS, MIRRORS)
    assert isinstance(only, KtransformersVariables)
    assert (only.flavour, only.methods, only.services) == ("cpu", ("AMXINT4",), ())


def test_a_box_whose_weights_are_not_pinned_is_given_nothing() -> None:
    box = fleet()
    assert not [stage for stage in stages_of(box) if stage.engine == "pyinfra"]
    assert deploy_variables(box, box.hosts[0], SECRETS, MIRRORS) == ()
