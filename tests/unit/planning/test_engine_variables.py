"""Fleets projected onto the deploy of vLLM: old cards get a release, and flags, that they can do with."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.deploy_variables import VllmVariables
from boxwright.model.engine_settings import arguments
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Mirrors, Site
from boxwright.planning.engine_variables import vllm_variables
from boxwright.serving.vllm import vllm_start_limit
from boxwright.vault import HostSecrets

MIRRORS = Mirrors(debian="http://mirror.example/debian", python_index="https://mirror.example/simple")
SECRETS = HostSecrets(
    api_password=SecretStr("p"),
    api_key=SecretStr("a"),
    engine_key=SecretStr("e"),
    webui_admin_password=SecretStr("w"),
    webui_secret_key=SecretStr("s"),
)


def variables(name: str, *, of: int = 0, **stack: Any) -> VllmVariables:
    profile = load_profile(name)
    wanted = Profile.model_validate(profile.model_dump() | {"stack": profile.stack.model_dump() | stack})
    hosts = tuple(Host(name=f"box-{n}", address=f"192.0.2.{6 + n}") for n in range(1, wanted.nodes + 1))
    made = vllm_variables(
        make_fleet(wanted, Site(name="s", hosts=hosts), load_models(), load_accelerators()), hosts[of], SECRETS, MIRRORS
    )
    assert made
    return made


def test_a_v100_gets_the_last_release_for_it_in_float16_and_no_flag_that_it_does_not_have() -> None:
    made = variables("1xv100", engine="vllm", build="bf16", least_tokens_per_s=20)
    (service,) = made.services
    assert (made.flavour, made.version) == ("cuda", "0.19.1")
    assert (service.settings["dtype"], service.settings["shutdown-timeout"]) == ("half", 120)
    assert "sse-keep-alive-interval" not in service.settings  # since 0.32
    assert service.least_tokens_per_s == 20
    words = arguments(
        load_engine("vllm"), made.version, {f"--{name}": value for name, value in service.settings.items()}
    )
    assert "--dtype=half" in words


def test_what_the_profile_says_of_its_numbers_goes_before() -> None:
    made = variables("1xv100", engine="vllm", build="bf16", engine_settings={"dtype": "float32"})
    assert made.services[0].settings["dtype"] == "float32"


def test_newer_cards_get_the_default_and_numbers_as_the_weights_have_them() -> None:
    made = variables("4x4090")
    assert made.version == load_engine("vllm").default_version
    assert "dtype" not in made.services[0].settings
    assert made.services[0].settings["sse-keep-alive-interval"] == 15


def test_services_over_the_same_nodes_find_each_other_by_ports_of_their_own() -> None:
    half = {"model": "deepseek-r1-distill-qwen-7b", "context_tokens": 4096}
    further = {**half, "name": "second", "engine": "vllm", "engine_port": 8001, "accelerators": [4, 5, 6, 7]}
    # One over both machines, and one with copies on each.
    spread = {"tensor": 4, "pipeline": 2}, {"tensor": 4, "data": 2}
    made = variables(
        "2x8xh20",
        **half,
        accelerators=[0, 1, 2, 3],
        parallelism=spread[0],
        further=[further | {"parallelism": spread[1]}],
    )
    first, second = made.services
    assert (first.settings["master-port"], first.lifeline_port) == (29500, 29540)
    assert (second.settings["data-parallel-rpc-port"], second.lifeline_port) == (29650, 29640)


def test_nodes_of_a_box_agree_about_what_they_are_told_and_each_change_of_it_is_another_digest() -> None:
    def digests(**stack: Any) -> list[str | None]:
        return [variables("2x8xh20", of=node, **stack).services[0].box_settings for node in (0, 1)]

    first, second = digests()
    assert first is not None
    assert first == second
    other = digests(context_tokens=8192)
    assert other[0] == other[1] != first
    assert digests(least_tokens_per_s=5.0) == [first, second]  # the head's alone to measure: nobody is restarted
    assert variables("4x4090").services[0].box_settings is None
    assert variables("2x8xh20", executor="ray").services[0].box_settings is None


def test_vllm_does_not_give_up_a_large_model_sooner_than_boxwright_does() -> None:
    """Its processes that answer wait ten minutes for those that load; 700 GB from a slow disk take longer."""
    large, small = variables("2x8xh20").services[0], variables("4x4090").services[0]
    assert large.patience_s > 600
    assert large.environment["VLLM_ENGINE_READY_TIMEOUT_S"] == str(large.patience_s)
    assert small.patience_s < 600
    assert "VLLM_ENGINE_READY_TIMEOUT_S" not in small.environment


def test_how_long_vllm_waits_is_the_profiles_to_say_and_not_told_to_a_release_that_does_not_know_it() -> None:
    told = {"VLLM_ENGINE_READY_TIMEOUT_S": 7200}
    assert variables("2x8xh20", engine_settings=told).services[0].environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "7200"
    table = load_engine("vllm")
    assert vllm_start_limit(table, "0.11.2", 1677) == {}
    assert vllm_start_limit(table, "0.19.1", 1677) == {"VLLM_ENGINE_READY_TIMEOUT_S": "1677"}
