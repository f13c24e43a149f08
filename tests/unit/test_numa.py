"""A policy that was set and did not come true is a breach: read from what the kernel says of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Site
from boxwright.model.stack import NumaPolicy
from boxwright.planning.numa import spread_over
from boxwright.verification.numa import breach, memory_by_node, misconfigured, policy_of_unit, processors

MAPS = """\
7f2a00000000 bind:0 anon=262144 dirty=262144 active=0 N0=262000 N1=144 kernelpagesize_kB=4
7f2b00000000 bind:0 anon=2 dirty=2 N0=2 kernelpagesize_kB=2048
7ffd00000000 default stack anon=5 dirty=5 N1=5 kernelpagesize_kB=4
7f2c00000000 default file=/usr/lib/x.so mapped=10 N0=10
ffffffffff600000 default
"""
NODES = {0: set(range(4)), 1: set(range(4, 8))}
BIND = NumaPolicy(policy="bind", nodes=(0,))
INTERLEAVE = NumaPolicy(policy="interleave", nodes=(0, 1))


def test_pages_are_added_up_by_their_size() -> None:
    assert memory_by_node(MAPS) == {0: 262000 * 4 + 2 * 2048 + 10 * 4, 1: 149 * 4}


def test_memory_where_it_should_be_is_no_breach() -> None:
    assert not breach(BIND, memory_by_node(MAPS), {0, 1, 2, 3}, NODES)
    assert not breach(INTERLEAVE, {0: 1000, 1: 900}, set(range(8)), NODES)
    assert not breach(NumaPolicy(), {0: 1000, 1: 1}, set(range(8)), NODES)


@pytest.mark.parametrize(
    ("policy", "memory", "allowed", "words"),
    [
        (BIND, {0: 500_000, 1: 500_000}, {0}, "488 MiB on node 1, and the policy is bind on 0"),
        (BIND, {0: 500_000}, {0, 5}, "may run on processors [5] of other nodes"),
        (INTERLEAVE, {0: 900_000, 1: 100_000}, {0}, "uneven: 878 MiB on node 0, 97 MiB on node 1"),
        (INTERLEAVE, {0: 900_000}, {0}, "uneven: 878 MiB on node 0"),
        (BIND, {}, {0}, "no memory that could be looked at"),
    ],
)
def test_breaches(policy: NumaPolicy, memory: dict[int, int], allowed: set[int], words: str) -> None:
    assert words in breach(policy, memory, allowed, NODES)


def test_what_an_engine_spreads_by_itself_lies_on_each_node() -> None:
    every, free = set(range(8)), NumaPolicy()
    assert not breach(free, {0: 240_000_000, 1: 140_000_000}, every, NODES, (0, 1))
    assert not breach(free, {0: 380_000_000, 1: 900_000}, every, NODES)  # of an engine that promises nothing
    said = breach(free, {0: 390_000_000, 1: 4_000_000}, every, NODES, (0, 1))
    assert said == "380859 MiB on node 0, 3906 MiB on node 1, and the engine is told to spread it over 0, 1"
    assert "and the engine is told to spread it over 0, 1" in breach(free, {0: 390_000_000}, every, NODES, (0, 1))
    assert breach(free, {0: 100_000, 1: 900_000}, every, NODES, (1,)).endswith("the engine is told to keep to 1")
    assert not breach(free, {0: 30_000, 1: 970_000}, every, NODES, (1,))


def spread_of(name: str, nodes: int | None = None, **stack: Any) -> tuple[int, ...]:
    profile = load_profile(name)
    hardware = profile.hardware.model_dump() | ({"numa_nodes": nodes} if nodes else {})
    changed = {"hardware": hardware, "stack": profile.stack.model_dump() | stack}
    wanted = Profile.model_validate(profile.model_dump() | changed)
    site = Site(name="s", hosts=(Host(name="box-1", address="192.0.2.7"),))
    return spread_over(make_fleet(wanted, site, load_models(), load_accelerators()), wanted.stack)


def test_profiles_whose_experts_lie_in_memory_promise_them_on_every_node() -> None:
    assert spread_of("1x4090-gguf") == ()  # one processor, which is one node
    assert spread_of("1x4090-gguf", 2) == (0, 1)
    assert spread_of("1x4090-gguf", 2, numa={"policy": "interleave", "nodes": [0, 1]}) == ()  # systemd's to do
    assert spread_of("1x4090-gguf", 2, engine_settings={"numa": "isolate"}) == ()
    assert spread_of("1x4090-kt") == (0, 1)
    assert spread_of("1x4090-kt", numa={"policy": "bind", "nodes": [1]}) == (1,)
    assert spread_of("1x4090-kt", engine_settings={"kt-threadpool-count": 1}) == (0,)
    assert spread_of("lab") == ()
    assert spread_of("4x4090") == ()


def test_kt_kernel_places_by_itself_and_its_unit_is_told_nothing() -> None:
    service = load_profile("1x4090-kt").stack.model_copy(update={"numa": BIND})
    assert policy_of_unit(service) == NumaPolicy()
    assert policy_of_unit(load_profile("1x4090-gguf").stack.model_copy(update={"numa": BIND})) == BIND


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    memory_by_node(text)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_a_list_of_processors_is_read_back(cpus: set[int]) -> None:
    assert processors(",".join(map(str, sorted(cpus))) + "\n") == cpus


def test_a_node_that_the_machine_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "box.yml"
    text = "name: box\nsummary: s\nhardware: {cpu: {cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}\n"
    path.write_text(text + "stack: {model: smollm2, engine: llama_cpp, numa: {policy: bind, nodes: [1]}}\n")
    with pytest.raises(BadInputError, match=r"stack\.numa\.nodes: the machine has no node 1"):
        load_profile(str(path))


@pytest.mark.parametrize(
    ("policy", "unit", "said"),
    [
        (NumaPolicy(), {"NUMAPolicy": "n/a", "NUMAMask": ""}, ""),
        (NumaPolicy(), {"NUMAPolicy": "bind", "NUMAMask": "0"}, "the unit's NUMAPolicy is bind, not default"),
        (BIND, {"NUMAPolicy": "bind", "NUMAMask": "0"}, ""),
        (BIND, {"NUMAPolicy": "bind", "NUMAMask": "1"}, "the unit's NUMAMask is [1], not [0]"),
        (INTERLEAVE, {"NUMAPolicy": "interleave", "NUMAMask": "0-1"}, ""),
        (INTERLEAVE, {}, "the unit's NUMAPolicy is default, not interleave"),
    ],
)
def test_a_unit_that_was_told_another_policy_is_seen(policy: NumaPolicy, unit: dict[str, str], said: str) -> None:
    assert misconfigured(policy, unit) == said
