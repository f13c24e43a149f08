"""Where a process's memory lies and its threads may run, against the policy that it was given. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from boxwright.model.stack import NumaPolicy, Service

# The loader, the C library and what else was cached before the process began may lie anywhere.
_STRAY = 0.05
# Interleaving deals out page by page, so that no node has twice its share.
_UNEVEN = 2.0
# Engines that spread by themselves deal out layers, rows or experts: no node has less than this part of an equal share.
_LEAST_OF_A_SHARE = 0.5


def memory_by_node(numa_maps: str) -> dict[int, int]:
    """KiB of each NUMA node, from /proc/PID/numa_maps."""
    found: Counter[int] = Counter()
    for line in numa_maps.splitlines():
        size = re.search(r"\bkernelpagesize_kB=([0-9]{1,9})\b", line)
        for node, pages in re.findall(r"\bN([0-9]{1,3})=([0-9]{1,15})\b", line):
            found[int(node)] += int(pages) * (int(size[1]) if size else 4)
    return dict(found)


def processors(cpu_list: str) -> set[int]:
    """The processors of a list as the kernel writes it: `0-3,8`."""
    found: set[int] = set()
    for part in filter(None, cpu_list.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def policy_of_unit(service: Service) -> NumaPolicy:
    """What systemd is told for a service. kt-kernel places threads and memory by itself, and its unit has no policy."""
    return NumaPolicy() if service.engine == "ktransformers" else service.numa


def misconfigured(policy: NumaPolicy, unit: Mapping[str, str]) -> str:
    """What of a unit's own settings is not as the policy says; empty when all is.

    Args:
        policy: What the profile says.
        unit: systemd's `NUMAPolicy` and `NUMAMask` of it; a policy that nobody set is `n/a`.
    """
    told = unit.get("NUMAPolicy", "")
    found = "default" if told in ("", "n/a") else told
    if found != policy.policy:
        return f"the unit's NUMAPolicy is {found}, not {policy.policy}"
    nodes = processors(unit.get("NUMAMask", "").replace(" ", ","))
    if policy.policy != "default" and nodes != set(policy.nodes):
        return f"the unit's NUMAMask is {sorted(nodes)}, not {sorted(policy.nodes)}"
    return ""


def misplaced(policy: NumaPolicy, nodes: str) -> str:
    """What of a container's own settings is not as the policy says; empty when all is.

    Args:
        policy: What the profile says.
        nodes: Docker's list of nodes that its memory may lie on; empty: all.
    """
    wanted = set(policy.nodes) if policy.policy == "bind" else set()
    found = processors(nodes)
    return "" if found == wanted else f"Docker keeps its memory to nodes {sorted(found)}, not {sorted(wanted)}"


def breach(
    policy: NumaPolicy,
    memory: dict[int, int],
    allowed: set[int],
    of_node: dict[int, set[int]],
    spread: Sequence[int] = (),
) -> str:
    """What is not as the policy says, or as the engine promises by itself; empty when all is.

    Args:
        policy: What the unit is told.
        memory: KiB of each node that the process has.
        allowed: Processors that it may run on.
        of_node: The processors of each node.
        spread: Nodes that the engine spreads its memory over by itself; of a unit without a policy.
    """
    total = sum(memory.values())
    if not total:
        return "the process has no memory that could be looked at"
    stray = {node: kib for node, kib in memory.items() if node not in policy.nodes}
    if policy.policy != "default" and sum(stray.values()) > total * _STRAY:
        return f"{_places(stray)}, and the policy is {policy.policy} on {_listed(policy.nodes)}"
    if policy.policy == "default" and spread:
        return _badly_spread(memory, spread)
    if policy.policy == "interleave":
        shares = [memory.get(node, 0) for node in policy.nodes]
        if max(shares) > _UNEVEN * max(min(shares), 1):
            return f"uneven: {_places(memory)}"
    if policy.policy == "bind":
        wanted = set().union(*(of_node.get(node, set()) for node in policy.nodes))
        if not allowed <= wanted:
            return f"may run on processors {sorted(allowed - wanted)} of other nodes"
    return ""


def _badly_spread(memory: dict[int, int], nodes: Sequence[int]) -> str:
    total = sum(memory.values())
    stray = {node: kib for node, kib in memory.items() if node not in nodes}
    if sum(stray.values()) > total * _STRAY:
        return f"{_places(stray)}, and the engine is told to keep to {_listed(nodes)}"
    least = _LEAST_OF_A_SHARE * total / len(nodes)
    if any(memory.get(node, 0) < least for node in nodes):
        return f"{_places(memory)}, and the engine is told to spread it over {_listed(nodes)}"
    return ""


def _places(memory: Mapping[int, int]) -> str:
    return ", ".join(f"{kib // 1024} MiB on node {node}" for node, kib in sorted(memory.items()))


def _listed(nodes: Sequence[int]) -> str:
    return ", ".join(map(str, nodes))
