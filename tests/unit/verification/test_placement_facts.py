"""Whose memory is looked at: the unit's own process, or, where that is Docker's client, the container's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from boxwright.model.stack import NumaPolicy
from boxwright.verification.numa import misplaced
from boxwright.verification.remote.placement_facts import facts

StandIn = Callable[[str, str], None]
UNIT = "printf 'MainPID=%s\\nNUMAPolicy=n/a\\nNUMAMask=\\n' {pid}"
# A child that has much more memory than the process that started it, as engines' workers have.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
CHILD = "import os; big = bytearray(300 << 20); print(os.getpid(), flush=True); input()"


def test_of_a_unit_its_largest_process_counts(stand_in: StandIn) -> None:
    argv = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = parent.stdout.readline().strip()
        stand_in("systemctl", UNIT.format(pid=parent.pid))
        told = facts({"unit": "llama-server.service", "container": None})
        allowed = sorted(os.sched_getaffinity(int(child)))
        parent.communicate("\n")
    assert told["container"] is None
    assert told["unit"]["MainPID"] == str(parent.pid)
    assert told["allowed"].strip().startswith(str(allowed[0]))


def test_of_a_container_its_own_process_counts_and_what_docker_keeps_it_to(stand_in: StandIn) -> None:
    stand_in("systemctl", UNIT.format(pid=1))
    asked = "inspect --format {{.State.Pid}} {{.HostConfig.CpusetMems}} vllm-rocm"
    stand_in("docker", f'[ "$*" = "{asked}" ] && echo "{os.getpid()} 0"')
    told = facts({"unit": "vllm-rocm.service", "container": "vllm-rocm"})
    assert told["container"] == {"pid": str(os.getpid()), "nodes": "0"}
    stand_in("docker", "echo '0 '")
    with pytest.raises(ValueError, match="does not run"):
        facts({"unit": "vllm-rocm.service", "container": "vllm-rocm"})


def test_docker_keeps_a_container_to_the_nodes_of_the_policy() -> None:
    bound = NumaPolicy(policy="bind", nodes=(0, 1))
    assert not misplaced(bound, "0-1")
    assert not misplaced(NumaPolicy(), "")
    assert "to nodes [0], not [0, 1]" in misplaced(bound, "0")
    assert "to nodes [], not [0, 1]" in misplaced(bound, "")
