"""What has to be seen of each service's model on the cards of a machine."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.residency import CardResidency
from boxwright.model.site import Host, Site
from boxwright.planning.residency import residencies, residency_of
from boxwright.planning.sized_stack import parallelism, size_stack

GB = 1e9


def fleet(name: str, **stack: Any) -> Fleet:
    whole = load_profile(name).model_dump()
    whole["stack"] |= stack
    profile = Profile.model_validate(whole)
    profile, _ = size_stack(profile, load_models(), load_accelerators(), lambda key: key)
    hosts = tuple(Host(name=f"box-{n}", address=f"192.0.2.{n}") for n in range(1, profile.nodes + 1))
    return make_fleet(profile, Site(name="s", hosts=hosts), load_models(), load_accelerators())


def main(made: Fleet) -> CardResidency:
    found = residency_of(made, made.profile.stack)
    assert found
    return found


@pytest.mark.parametrize("name", ["lab", "lab-vllm", "lab-vllm-pair", "lab-ollama", "2x4090"])
def test_nothing_is_expected_without_cards_or_of_ollama(name: str) -> None:
    made = fleet(name)
    assert [residencies(made, host) for host in made.site.hosts] == [()] * len(made.site.hosts)


def test_vllm_has_its_share_of_the_weights_on_every_card() -> None:
    made = fleet("8x4090", model="deepseek-r1-distill-llama-70b")
    found, spread = main(made), parallelism(made, made.profile.stack)
    copies = 8 / (spread.tensor * spread.pipeline)
    assert found.cards == tuple(range(8))
    assert (found.units, found.container, found.tool, found.layers) == (("vllm.service",), None, "nvidia-smi", None)
    assert found.expected_bytes
    # 70.6 billion weights, by the bytes of the build that is served; never more than the cards have.
    assert found.expected_bytes < 8 * 24 * 1024**3
    assert found.expected_bytes / copies > 30 * GB
    assert 0.7 * found.expected_bytes < found.least_bytes < found.expected_bytes
    assert 0 < found.least_each_bytes < found.expected_bytes / 8


def test_each_node_of_a_box_has_its_half() -> None:
    made = fleet("2x8xh20")
    (head,), (other,) = (residencies(made, host) for host in made.site.hosts)
    assert head == other
    assert head.expected_bytes == pytest.approx(344 * GB, rel=0.02)  # of 688 GB
    assert len(head.cards) == 8


def test_where_ray_starts_the_processes_they_are_rays() -> None:
    made = fleet("2x8xh20", executor="ray")
    units = [one.units for host in made.site.hosts for one in residencies(made, host)]
    assert units == [("vllm.service", "ray.service"), ("ray.service",)]


def test_llama_cpp_is_held_against_its_plan() -> None:
    found = main(fleet("1x4090-gguf"))
    assert (found.layers, found.least_each_bytes) == ("all", 0)
    assert found.expected_bytes
    assert found.expected_bytes < 24 * 1024**3
    half = main(fleet("1x4090-gguf", engine_settings={"gpu-layers": 12}))
    assert (half.layers, half.expected_bytes, half.least_bytes) == (12, None, 1)
    assert main(fleet("1x4090-gguf", engine_settings={"cpu-moe": True})).layers is None


@pytest.mark.parametrize("settings", [{"gpu-layers": 0}, {"device": "none", "gpu-layers": 99}])
def test_nothing_is_expected_where_the_profile_keeps_it_off_the_cards(settings: dict[str, Any]) -> None:
    made = fleet("1x4090-gguf", engine_settings=settings)
    assert residency_of(made, made.profile.stack) is None


def test_of_ktransformers_everything_but_experts_lies_on_the_card() -> None:
    found = main(fleet("1x4090-kt"))
    assert found.expected_bytes
    assert 10 * GB < found.expected_bytes < 24 * GB
    assert found.units == ("ktransformers.service",)


def test_in_a_container_its_own_processes_are_meant_and_other_makers_tools_are_not_read() -> None:
    found = main(fleet("2xa100", engine="tensorrt_llm", engine_settings={}, engine_version=None))
    assert (found.container, found.tool) == ("tensorrt-llm", "nvidia-smi")
    amd = main(fleet("8xmi300x"))
    assert (amd.container, amd.tool) == ("vllm-rocm", None)
    assert amd.expected_bytes


def test_of_what_is_not_counted_something_must_be_on_each_card() -> None:
    found = main(fleet("8x4090", engine_settings={"cpu-offload-gb": 4}))
    assert (found.expected_bytes, found.least_bytes, found.least_each_bytes) == (None, 1, 1)
