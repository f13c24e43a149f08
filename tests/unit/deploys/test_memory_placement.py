"""Where an engine's memory lies: a policy that was set and did not come true is a breach, by what the kernel says.

The nodes of the machine that runs these tests are one, as a rule: those here are SIMULATED where there are more. On a
machine with true ones: tests/lab/test_lab_memory_placement.py.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.model.residency import MemoryPlacement
from deploys.operations.files import TEMPLATES

PROGRAM = TEMPLATES / "engine_unit/memory_placement.py"
inside = runpy.run_path(str(PROGRAM))
memory_by_node, processors, listed, breach = (
    inside[name] for name in ("memory_by_node", "processors", "listed", "breach")
)

MAPS = """\
7f2a00000000 bind:0 anon=262144 dirty=262144 active=0 N0=262000 N1=144 kernelpagesize_kB=4
7f2b00000000 bind:0 anon=2 dirty=2 N0=2 kernelpagesize_kB=2048
7ffd00000000 default stack anon=5 dirty=5 N1=5 kernelpagesize_kB=4
7f2c00000000 default file=/srv/models/m.gguf mapped=10 N0=10 kernelpagesize_kB=4
7f2d00000000 default file=/usr/lib/libtorch_cpu.so mapped=90000 N1=90000 kernelpagesize_kB=4
7f2d80000000 default file=/usr/lib/libc.so.6 mapped=300 N1=300 kernelpagesize_kB=4
ffffffffff600000 default
"""
NODES = {0: set(range(4)), 1: set(range(4, 8))}
EVERY = set(range(8))
FREE: dict[str, Any] = {}
BIND = {"policy": "bind", "nodes": (0,)}
INTERLEAVE = {"policy": "interleave", "nodes": (0, 1)}
SPREAD = {"spread": (0, 1)}

Judge = Callable[..., dict[str, str]]
StandIn = Callable[[str, str], None]


def wanted(**changes: Any) -> dict[str, Any]:
    told = {"unit": "llama-server.service", "container": None, "policy": "default", "nodes": ()}
    return MemoryPlacement.model_validate(told | changes).model_dump(mode="json")


def found(memory: dict[int, int] | None, allowed: set[int] = EVERY, **changes: Any) -> Any:
    unit = {"MainPID": "1", "NUMAPolicy": "n/a", "NUMAMask": ""}
    return inside["Found"](
        **{"unit": unit, "container": None, "memory": memory, "allowed": allowed, "of_node": NODES} | changes
    )


def test_pages_are_added_up_by_their_size_and_libraries_are_none_of_the_model() -> None:
    assert memory_by_node(MAPS.splitlines()) == {0: 262000 * 4 + 2 * 2048 + 10 * 4, 1: 149 * 4}


def test_of_an_engine_that_copies_its_weights_no_file_counts() -> None:
    shared = """\
7f3000000000 default file=/anon_hugepage\\040(deleted) anon=2 N1=2 kernelpagesize_kB=2048
7f3100000000 default file=/dev/zero\\040(deleted) dirty=5 N0=5 kernelpagesize_kB=4
7f3200000000 default file=/dev/shm/queue mapped=3 N0=3 kernelpagesize_kB=4
"""
    told = memory_by_node((MAPS + shared).splitlines(), inside["FILE"])
    assert told == {0: 262000 * 4 + 2 * 2048 + 8 * 4, 1: 149 * 4 + 2 * 2048}


@pytest.mark.parametrize(
    ("told", "memory", "allowed"),
    [
        (BIND, memory_by_node(MAPS.splitlines()), {0, 1, 2, 3}),
        (INTERLEAVE, {0: 1000, 1: 900}, EVERY),
        (INTERLEAVE, {0: 1000, 1: 500}, EVERY),
        (FREE, {0: 1000, 1: 1}, EVERY),
        # Of an engine that deals out by itself, and on purpose over both in equal parts.
        (SPREAD, {0: 1000, 1: 1000}, EVERY),
        (SPREAD, {0: 240_000_000, 1: 140_000_000}, EVERY),
        ({"spread": (1,)}, {0: 30_000, 1: 970_000}, EVERY),
        ({"on_one": True}, {0: 200, 1: 800}, EVERY),
        ({"processors": ("4-6",)}, {0: 40, 1: 960}, EVERY),
        ({"processors": ("0-2", "4-6")}, {0: 500, 1: 500}, EVERY),
        ({"processors": ("4-6",)} | BIND | {"nodes": (1,)}, {1: 960}, {4, 5}),
    ],
)
def test_memory_where_it_should_be_is_no_breach(
    told: dict[str, Any], memory: dict[int, int], allowed: set[int]
) -> None:
    assert not breach(wanted(**told), found(memory, allowed))


@pytest.mark.parametrize(
    ("told", "memory", "allowed", "words"),
    [
        (BIND, {0: 500_000, 1: 500_000}, {0}, "488 MiB on node 1, and the policy is bind on 0"),
        (BIND, {0: 500_000}, {0, 5}, "may run on processors 5 of other nodes"),
        (INTERLEAVE, {0: 900_000, 1: 100_000}, {0}, "uneven: 878 MiB on node 0, 97 MiB on node 1"),
        (INTERLEAVE, {0: 900_000}, {0}, "uneven: 878 MiB on node 0"),
        (BIND, {}, {0}, "no memory that could be looked at"),
        (
            SPREAD,
            {0: 390_000_000, 1: 4_000_000},
            EVERY,
            "380859 MiB on node 0, 3906 MiB on node 1, and the engine is told to spread it over 0, 1",
        ),
        (SPREAD, {0: 390_000_000}, EVERY, "and the engine is told to spread it over 0, 1"),
        ({"spread": (1,)}, {0: 100_000, 1: 900_000}, EVERY, "97 MiB on node 0, and the engine is told to keep to 1"),
        ({"on_one": True}, {0: 500_000, 1: 500_000}, EVERY, "and the engine is told to keep to one node"),
        (
            {"processors": ("4-5", "6")},
            {0: 500_000, 1: 500_000},
            EVERY,
            "488 MiB on node 0, and the engine is told to keep to processors 4-5|6, which are of node 1",
        ),
    ],
)
def test_breaches(told: dict[str, Any], memory: dict[int, int], allowed: set[int], words: str) -> None:
    assert words in breach(wanted(**told), found(memory, allowed))


@pytest.mark.parametrize(
    ("told", "unit", "said"),
    [
        (FREE, {"NUMAPolicy": "n/a", "NUMAMask": ""}, ""),
        (FREE, {"NUMAPolicy": "bind", "NUMAMask": "0"}, "the unit's NUMAPolicy is bind, not default"),
        (BIND, {"NUMAPolicy": "bind", "NUMAMask": "0"}, ""),
        (BIND, {"NUMAPolicy": "bind", "NUMAMask": "1"}, "the unit's NUMAMask is [1], not [0]"),
        (INTERLEAVE, {"NUMAPolicy": "interleave", "NUMAMask": "0-1"}, ""),
        (INTERLEAVE, {}, "the unit's NUMAPolicy is default, not interleave"),
    ],
)
def test_a_unit_that_was_told_another_policy_is_seen(told: dict[str, Any], unit: dict[str, str], said: str) -> None:
    assert inside["misconfigured"](wanted(**told), unit) == said


def test_docker_keeps_a_container_to_the_nodes_of_the_policy() -> None:
    misplaced = inside["misplaced"]
    both = wanted(policy="bind", nodes=(0, 1))
    assert not misplaced(both, "0-1")
    assert not misplaced(wanted(), "")
    assert "to nodes [0], not [0, 1]" in misplaced(both, "0")
    assert "to nodes [], not [0, 1]" in misplaced(both, "")


def test_where_a_containers_threads_run_is_not_judged() -> None:
    held = found({0: 500_000}, {0, 5}, container={"pid": "7", "nodes": "0"})
    assert not breach(wanted(**BIND), held)


@pytest.mark.parametrize(
    ("told", "held", "said"),
    [
        (SPREAD, found({0: 1}, of_node={0: {0, 1}}), "NUMA nodes 0-1 are wanted, and this machine has 0 alone"),
        (SPREAD | {"simulated": True}, found({0: 1}), "the nodes of a twin are simulated"),
        (SPREAD, found(None), "this kernel tells nothing of NUMA, and memory is wanted on certain nodes"),
        ({"processors": ("9-11",)}, found({0: 1}), "this machine has none of the processors 9-11"),
        (FREE, found(None), ""),
        (BIND, found({0: 1}, of_node={0: {0, 1}}), ""),
        ({"on_one": True}, found({0: 1}, of_node={0: {0, 1}}), ""),
    ],
)
def test_what_a_machine_cannot_tell_is_said_and_is_no_breach(told: dict[str, Any], held: Any, said: str) -> None:
    assert inside["unknowable"](wanted(**told), held) == said


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    memory_by_node(text.splitlines())


@given(st.sets(st.integers(0, 300), min_size=1))
def test_a_list_of_processors_is_read_back(cpus: set[int]) -> None:
    assert processors(",".join(map(str, sorted(cpus))) + "\n") == cpus
    assert processors(listed(cpus)) == cpus


UNIT = "printf 'MainPID=%s\\nNUMAPolicy=n/a\\nNUMAMask=\\n' {pid}"
# A child that has much more memory than the process that started it, as engines' workers have.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
CHILD = "import os; big = bytearray(300 << 20); print(os.getpid(), flush=True); input()"
TWO_CHILDREN = f"""
import subprocess, sys
argv = [sys.executable, "-c", {CHILD!r}]
both = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
print(*(one.stdout.readline().strip() for one in both), flush=True)
input()
for one in both:
    one.communicate("\\n")
"""


def told_by_the_program(**changes: Any) -> dict[str, str]:
    asked = json.dumps([wanted(**changes)])
    done = subprocess.run([sys.executable, PROGRAM], input=asked, capture_output=True, text=True, check=True)
    (told,) = json.loads(done.stdout)
    return dict(told)


def test_of_a_unit_its_largest_process_counts(stand_in: StandIn) -> None:
    argv = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = parent.stdout.readline().strip()
        stand_in("systemctl", UNIT.format(pid=parent.pid))
        assert [path.name for path in inside["holders_of"](str(parent.pid))] == [child]
        told = told_by_the_program()
        allowed = listed(os.sched_getaffinity(int(child)))
        lies = inside["_memory"]([Path("/proc", child)], inside["FILE"])
        parent.communicate("\n")
    assert (told["wrong"], told["unproven"]) == ("", "")
    if Path("/proc/self/numa_maps").exists():
        assert 300 << 10 <= sum(lies.values()) < 400 << 10
        assert told["seen"].endswith(f"; processors {allowed}")
        assert "llama-server.service: default: 3" in told["seen"]


def test_workers_that_share_a_model_count_together(stand_in: StandIn) -> None:
    argv = [sys.executable, "-c", TWO_CHILDREN]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        children = parent.stdout.readline().split()
        holders = [path.name for path in inside["holders_of"](str(parent.pid))]
        parent.communicate("\n")
    assert holders == sorted(children, key=int)


def test_of_a_container_its_own_process_counts_and_what_docker_keeps_it_to(stand_in: StandIn) -> None:
    stand_in("systemctl", UNIT.format(pid=1))
    asked = "inspect --format {{.State.Pid}} {{.HostConfig.CpusetMems}} vllm-rocm"
    stand_in("docker", f'[ "$*" = "{asked}" ] && echo "{os.getpid()} 0"')
    rocm = {"unit": "vllm-rocm.service", "container": "vllm-rocm"}
    facts = inside["facts"](wanted(**rocm))
    assert facts.container == {"pid": str(os.getpid()), "nodes": "0"}
    assert told_by_the_program(**rocm)["wrong"] == ("vllm-rocm.service: Docker keeps its memory to nodes [0], not []")
    stand_in("docker", "echo '0 '")
    assert told_by_the_program(**rocm)["wrong"] == "vllm-rocm.service: the container vllm-rocm does not run"


def test_who_does_not_run_or_tell_is_said_to_and_nothing_is_thrown(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("systemctl", UNIT.format(pid=0))
    assert told_by_the_program()["wrong"] == "llama-server.service: it does not run"
    stand_in("systemctl", UNIT.format(pid=99_999_999))
    assert told_by_the_program()["wrong"] == "llama-server.service: it does not run"
    stand_in("systemctl", "echo no bus >&2; exit 1")
    assert told_by_the_program()["wrong"] == "llama-server.service: systemctl does not tell: no bus"
