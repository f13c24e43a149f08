"""Fleets projected onto the deploy of llama.cpp: what is built for whom, who gets which cards, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.compatibility import check_stack
from boxwright.model.deploy_variables import LlamaCppVariables
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Artefacts, Host, LlamaCppArtefact, Mirrors, Site
from boxwright.planning.llama_cpp_variables import check_llama_cpp, llama_cpp_variables
from boxwright.vault import HostSecrets

MIRRORS = Mirrors(debian="http://mirror.example/debian", python_index="https://mirror.example/simple", builds="/shelf")
SECRETS = HostSecrets(
    api_password=SecretStr("p"),
    api_key=SecretStr("a"),
    engine_key=SecretStr("e"),
    webui_admin_password=SecretStr("w"),
    webui_secret_key=SecretStr("s"),
)
SUPPLIED = LlamaCppArtefact(path="/vendor/llama.cpp-b11500.tar.gz", version="b11500", sha256="ab" * 32)
R1 = {"model": "deepseek-r1-0528", "build": "ud-q2_k_xl", "parallel_requests": 1, "engine_settings": {}}


def profile(name: str, stack: dict[str, Any], **changes: Any) -> Profile:
    whole = load_profile(name).model_dump()
    whole["stack"] |= {"engine": "llama_cpp"} | stack
    for section, value in changes.items():
        whole[section] = whole[section] | value if isinstance(value, dict) else value
    return Profile.model_validate(whole)


def fleet(name: str, site: dict[str, Any] | None = None, **stack: Any) -> Fleet:
    return of(profile(name, stack), **site or {})


def of(wanted: Profile, **site: Any) -> Fleet:
    hosts = tuple(Host(name=f"box-{n}", address=f"192.0.2.{n}") for n in range(1, wanted.nodes + 1))
    check_stack(wanted, load_engine, load_accelerators(), load_models())
    return make_fleet(wanted, Site(name="s", hosts=hosts, **site), load_models(), load_accelerators())


def variables(made: Fleet) -> LlamaCppVariables:
    check_llama_cpp(made)
    found = llama_cpp_variables(made, SECRETS, MIRRORS)
    assert found
    return found


def test_without_cards_it_comes_in_packages() -> None:
    made = variables(fleet("lab"))
    assert made.build is None
    (service,) = made.services
    assert (service.unit, service.cards, service.cores, service.environment) == ("llama-server", False, 2, {})


def test_it_is_built_for_the_cards_that_it_serves_on() -> None:
    made = variables(fleet("1xv100", engine_settings={}))
    assert made.build
    assert "-DCMAKE_CUDA_ARCHITECTURES=70-real" in made.build.cmake
    assert made.build.mounts == ("/usr/local/cuda-12.9",)
    assert made.build.source.package == "llama-cpp-python"
    (service,) = made.services
    assert service.arguments[:2] == ("--ctx-size", str(16 * 8192))
    assert "--gpu-layers all" in " ".join(service.arguments)


def test_a_box_without_cards_can_have_it_built_too() -> None:
    made = variables(of(profile("lab", {"llama_cpp_program": "source"}, hardware={"cpu": {"cores_per_socket": 2}})))
    assert made.build
    assert made.build.version == "b11312"
    assert not [word for word in made.build.cmake if "CUDA" in word]


def test_services_have_ports_cards_and_nodes_of_their_own() -> None:
    further = {"name": "helper", "model": "smollm2", "engine": "llama_cpp", "engine_port": 8001, "accelerators": [2, 3]}
    lone = further | {"name": "lone", "engine_port": 8002, "accelerators": [], "numa": {"policy": "bind", "nodes": [1]}}
    stack = {"model": "deepseek-r1-distill-qwen-7b", "accelerators": [0, 1], "further": [further, lone]}
    made = variables(fleet("8x4090", **stack))
    units = {one.unit: one for one in made.services}
    assert [(one.unit, one.port, one.cards) for one in made.services] == [
        ("llama-server", 8000, True),
        ("llama-server-helper", 8001, True),
        ("llama-server-lone", 8002, False),
    ]
    assert units["llama-server-helper"].environment["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "--device none" in " ".join(units["llama-server-lone"].arguments)
    assert (units["llama-server-lone"].cores, units["llama-server-lone"].numa_nodes) == (64, (1,))
    assert units["llama-server-lone"].placed_anew  # its weights are to lie on node 1
    assert units["llama-server"].placed_anew == ()


def test_a_service_beside_another_engine_is_projected_alone() -> None:
    further = {"name": "small", "model": "smollm2", "engine": "llama_cpp", "engine_port": 8001, "accelerators": []}
    stack = {"engine": "vllm", "accelerators": [0, 1, 2, 3], "further": [further]}
    made = variables(fleet("8x4090", **stack))
    assert [one.unit for one in made.services] == ["llama-server-small"]
    assert made.build is None


def test_a_site_may_supply_the_source() -> None:
    made = variables(fleet("1xv100", {"artefacts": Artefacts(llama_cpp=SUPPLIED)}))
    assert made.build
    assert (made.build.version, made.build.source.path) == ("b11500", SUPPLIED.path)
    pinned = variables(fleet("1xv100", {"artefacts": Artefacts(llama_cpp=SUPPLIED)}, engine_version="b11312"))
    assert pinned.build
    assert pinned.build.source.path is None


@pytest.mark.parametrize(
    ("name", "stack", "message", "hint"),
    [
        ("1xv100", {"llama_cpp_program": "packages"}, "computes on processors alone", "Set stack.llama_cpp_program"),
        ("lab", {"engine_version": "b11312"}, "Debian's packages are llama.cpp b11669, not b11312", "or set stack."),
        ("1xv100", {"engine_version": "b11669"}, "no source of llama.cpp b11669 is known", "Take b11312, or name its"),
        ("1xv100", {"parallelism": {"tensor": 1}}, "deals layers out to cards by itself", "split-mode"),
        ("1xv100", {"engine_settings": {"moe-cache-mib": 1}}, "b11312 does not have '--moe-cache-mib' yet", ""),
        ("2x8xh20", {"model": "smollm2", "context_tokens": 4096}, "serves on one machine", "Set stack.engine to vllm"),
        ("1xv100", {"model": "deepseek-r1-0528", "build": "ud-q2_k_xl"}, "to main memory", "a smaller model"),
        ("1x4090-kt", R1 | {"build": "ud-q4_k_xl", "context_tokens": 163840}, None, None),
        ("2x4090", R1, "of 128 GiB there are 118 for it", "Take a smaller model"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(
    name: str, stack: dict[str, Any], message: str | None, hint: str | None
) -> None:
    if message is None or hint is None:
        check_llama_cpp(fleet(name, **stack))
        return
    with pytest.raises(BadInputError) as refused:
        check_llama_cpp(fleet(name, **stack))
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_a_build_that_does_not_fit_names_the_largest_that_does() -> None:
    small = profile("1x4090-kt", R1 | {"build": "ud-q4_k_xl"}, hardware={"memory_gib": 256, "dimms": None})
    with pytest.raises(BadInputError) as refused:
        check_llama_cpp(of(small))
    assert refused.value.hint == "Set stack.build to ud-q2_k_xl."
    assert "ud-q4_k_xl leaves 3" in refused.value.message


def test_cards_need_the_toolkit() -> None:
    with pytest.raises(BadInputError, match="by NVIDIA's compiler") as refused:
        check_llama_cpp(of(profile("1xv100", {}, cuda_toolkit=None)))
    assert "cuda_toolkit" in refused.value.hint


def test_cards_of_another_vendor_get_nothing_and_the_fleet_says_why() -> None:
    made = fleet("8xmi300x", model="smollm2", context_tokens=4096, engine_settings={})
    check_llama_cpp(made)
    assert llama_cpp_variables(made, SECRETS, MIRRORS) is None
    assert "MI300X" in made.without_stack
