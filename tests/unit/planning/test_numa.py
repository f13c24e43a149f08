"""On which NUMA nodes a service has to have its memory: as its unit is told, or as the engine promises by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.fleet import Fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Site, TwinSettings
from boxwright.model.stack import NumaPolicy
from boxwright.planning.numa import judged_at_start, placement_of, placements

BIND = NumaPolicy(policy="bind", nodes=(0,))


def fleet(name: str, nodes: int | None = None, **stack: Any) -> Fleet:
    profile = load_profile(name)
    hardware = profile.hardware.model_dump() | ({"numa_nodes": nodes} if nodes else {})
    changed = {"hardware": hardware, "stack": profile.stack.model_dump() | stack}
    wanted = Profile.model_validate(profile.model_dump() | changed)
    hosts = tuple(Host(name=f"box-{n}", address=f"192.0.2.{n}") for n in range(1, profile.nodes + 1))
    return make_fleet(wanted, Site(name="s", hosts=hosts), load_models(), load_accelerators())


def spread_of(name: str, nodes: int | None = None, **stack: Any) -> tuple[int, ...]:
    made = fleet(name, nodes, **stack)
    return placement_of(made, made.profile.stack).spread


def test_profiles_whose_experts_lie_in_memory_promise_them_on_every_node() -> None:
    assert spread_of("1x4090-gguf") == ()  # one processor, which is one node
    assert spread_of("1x4090-gguf", 2) == (0, 1)
    assert spread_of("1x4090-gguf", 2, numa={"policy": "interleave", "nodes": [0, 1]}) == ()  # systemd's to do
    assert spread_of("1x4090-gguf", 2, engine_settings={"numa": "isolate"}) == ()
    assert spread_of("1x4090-kt") == (0, 1)
    assert spread_of("1x4090-kt", numa={"policy": "bind", "nodes": [1]}) == (1,)
    assert spread_of("1x4090-kt", engine_settings={"kt-threadpool-count": 1}) == (0,)
    assert spread_of("1x4090-kt", engine_settings={"kt-numa-nodes": [1]}) == (1,)
    assert spread_of("lab") == ()
    assert spread_of("4x4090") == ()


def test_one_that_keeps_its_threads_to_one_node_has_its_memory_there() -> None:
    made = fleet("1x4090-gguf", 2, engine_settings={"numa": "isolate"})
    found = judged_at_start(made, made.profile.stack)
    assert found
    assert found.on_one


@pytest.mark.parametrize(
    ("binds", "processors"),
    [("0-31|32-63", ("0-31", "32-63")), ("0-7,64-71", ("0-7,64-71",)), ("auto", ()), ("nobind", ()), ("0-31|", ())],
)
def test_processors_that_vllm_is_told_of_are_where_its_memory_lies(binds: str, processors: tuple[str, ...]) -> None:
    made = fleet("lab-vllm", 2, engine_settings={"VLLM_CPU_OMP_THREADS_BIND": binds})
    assert placement_of(made, made.profile.stack).processors == processors
    assert (judged_at_start(made, made.profile.stack) is None) == (not processors)


def test_where_nobody_names_a_node_a_start_is_not_judged_and_verify_looks_all_the_same() -> None:
    for name in ("lab", "lab-vllm", "lab-ollama", "8x4090", "2x8xh20"):
        made = fleet(name)
        assert judged_at_start(made, made.profile.stack) is None
        assert [len(placements(made, host)) for host in made.site.hosts] == [1] * len(made.site.hosts)


def test_what_the_unit_is_told_counts_and_kt_kernels_is_told_nothing() -> None:
    made = fleet("lab-ollama", 2, numa=BIND.model_dump())
    found = judged_at_start(made, made.profile.stack)
    assert found
    assert (found.unit, found.policy, found.nodes, found.simulated) == ("ollama.service", "bind", (0,), False)
    made = fleet("1x4090-kt", numa=BIND.model_dump())
    found = placement_of(made, made.profile.stack)
    assert (found.policy, found.nodes, found.spread) == ("default", (), (0,))


def test_the_other_nodes_of_a_box_have_it_in_rays_processes_where_ray_starts_them() -> None:
    made = fleet("2x8xh20", executor="ray")
    units = [placements(made, host)[0].unit for host in made.site.hosts]
    assert units == ["vllm.service", "ray.service"]


def test_nodes_of_a_twin_are_simulated_where_there_are_several() -> None:
    made = fleet("lab", 2)
    on_twin = made.model_copy(update={"site": made.site.model_copy(update={"twin": TwinSettings()})})
    assert placement_of(on_twin, made.profile.stack).simulated
    made = fleet("lab")
    on_twin = made.model_copy(update={"site": made.site.model_copy(update={"twin": TwinSettings()})})
    assert not placement_of(on_twin, made.profile.stack).simulated


def test_a_node_that_the_machine_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "box.yml"
    text = "name: box\nsummary: s\nhardware: {cpu: {cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}\n"
    path.write_text(text + "stack: {model: smollm2, engine: llama_cpp, numa: {policy: bind, nodes: [1]}}\n")
    with pytest.raises(BadInputError, match=r"stack\.numa\.nodes: the machine has no node 1"):
        load_profile(str(path))
