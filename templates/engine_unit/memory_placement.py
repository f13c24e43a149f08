#!/usr/bin/env python3
"""Say whether services have their memory, and may run their threads, on the NUMA nodes that they belong on.

Usage: memory-placement < LIST

LIST is JSON: of each service `unit` (of systemd, whose processes hold the model), `container` (Docker's name of the one
that does, or null), `policy` (default, bind or interleave) and `nodes` (what the unit, or the container, is told),
`maps_weights` (whether the engine computes with them in the page cache; otherwise mapped files are none of its memory),
`spread` (nodes that the engine deals its memory out over by itself), `processors` (lists of processors, as the kernel
writes them, on whose nodes the engine keeps its memory by itself), `on_one` (whether it keeps to one node, whichever)
and `simulated` (whether the nodes that this machine shows are). What is printed is a list, too: of each `wrong` (what
is not as it should be), `unproven` (why nothing can be said) and `seen`. One of the first two is empty.

What counts is where pages are, by the kernel's own account: an engine whose node was full, or whose weights somebody
had read on another node before, serves all the same, only slowly.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROC = Path("/proc")
NODES = Path("/sys/devices/system/node")
PATIENCE_S = 60  # of systemd and Docker
GENERATIONS = 8  # of children that are looked at
# Of several processes those hold the model that have at least this part of the largest one's memory: vLLM's workers do,
# and the process that takes requests does not.
HOLDS = 0.5
STRAY = 0.05  # of all memory: what was cached before the process began may lie anywhere
UNEVEN = 2.0  # interleaving deals out page by page, so that no node has twice another's share
# Engines that spread by themselves deal out layers, rows or experts: no node has less than this part of an equal share.
LEAST_OF_A_SHARE = 0.5
ON_ONE = 0.75  # of all memory: threads are bound to a node when they begin to compute, and some was touched before
# Libraries lie in the page cache where whoever installed them ran, and are none of the model. What has no name any more
# (huge pages, memory that is shared) is memory, and no file.
LIBRARY = re.compile(r" file=\S*\.so(?:\.\S*)?(?: |$)")
FILE = re.compile(r" file=(?!/dev/)(?!\S*\(deleted\))")


class SilentError(Exception):
    """Something that is asked does not answer, or does not run; the message says what."""


@dataclass
class Found:
    """What the machine tells of a service."""

    unit: dict[str, str]  # systemd's MainPID, NUMAPolicy and NUMAMask
    container: dict[str, str] | None  # Docker's `pid`, and the `nodes` that its memory is kept to
    memory: dict[int, int] | None = None  # KiB of each node; None: the kernel knows no NUMA
    allowed: set[int] = field(default_factory=set)  # processors that its threads may run on
    of_node: dict[int, set[int]] = field(default_factory=dict)  # the processors of each node of the machine


def judged(told: dict[str, Any]) -> dict[str, str]:
    """Where the memory of one service lies."""
    unit = told["unit"]
    try:
        found = facts(told)
    except SilentError as error:
        return _said(wrong=f"{unit}: {error}")
    held = found.container
    wrong = misplaced(told, held["nodes"]) if held else misconfigured(told, found.unit)
    if not wrong and (reason := unknowable(told, found)):
        return _said(unproven=f"{unit}: {reason}")
    if not wrong and found.memory is None:
        return _said(seen=f"{unit}: this kernel has no NUMA, and no nodes are wanted")
    wrong = wrong or breach(told, found)
    if wrong:
        return _said(wrong=f"{unit}: {wrong}")
    whose = f" (process {held['pid']} of the container)" if held else ""
    return _said(
        seen=f"{unit}: {promise(told)}: {_places(found.memory or {})}; processors {listed(found.allowed)}{whose}"
    )


def _said(wrong: str = "", unproven: str = "", seen: str = "") -> dict[str, str]:
    return {"wrong": wrong, "unproven": unproven, "seen": seen}


def facts(told: Mapping[str, Any]) -> Found:
    """What is to be judged, of the `unit`, or of the `container` where one is named.

    Raises:
        SilentError: It does not run, or nobody tells.
    """
    unit = unit_of(told["unit"])
    container = container_of(told["container"]) if told["container"] else None
    holders = holders_of(container["pid"] if container else unit["MainPID"])
    return Found(
        unit,
        container,
        _memory(holders, FILE if not told["maps_weights"] else LIBRARY) if (PROC / "self/numa_maps").exists() else None,
        set().union(*(_allowed(process) for process in holders)),
        {int(node.name[4:]): processors((node / "cpulist").read_text()) for node in NODES.glob("node[0-9]*")},
    )


def unit_of(name: str) -> dict[str, str]:
    """systemd's own settings of a unit, and its first process."""
    shown = _asked("systemctl", "show", "--property=MainPID,NUMAPolicy,NUMAMask", name)
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    if found.get("MainPID", "0") == "0":
        raise SilentError("it does not run")
    return found


def container_of(name: str) -> dict[str, str]:
    """Docker's settings of a container, and its first process. The unit's own process is Docker's client alone."""
    pid, _, nodes = _asked(
        "docker", "inspect", "--format", "{{.State.Pid}} {{.HostConfig.CpusetMems}}", name
    ).partition(" ")
    if pid == "0":
        raise SilentError(f"the container {name} does not run")
    return {"pid": pid, "nodes": nodes.strip()}


def _asked(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    except subprocess.CalledProcessError as error:
        raise SilentError(f"{words[0]} does not tell: {(error.stderr or error.stdout).strip()}") from None
    except subprocess.TimeoutExpired:
        raise SilentError(f"{words[0]} does not tell within {PATIENCE_S} s") from None
    except OSError as error:
        raise SilentError(f"{words[0]} cannot be asked: {error.strerror}") from None
    return done.stdout.strip()


def holders_of(first: str) -> list[Path]:
    """The processes that hold the model, among one and its children: what holds it may be a child, or several."""
    parents, sizes, family = {}, {}, {first}
    for one in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (one / "stat").read_text().rpartition(")")[2].split()
            parents[one.name], sizes[one.name] = fields[1], int(fields[21])
    for _ in range(GENERATIONS):
        family |= {child for child, parent in parents.items() if parent in family}
    there = family & set(sizes)
    if not there:
        raise SilentError("it does not run")
    largest = max(sizes[pid] for pid in there)
    return [PROC / pid for pid in sorted(there, key=int) if sizes[pid] >= HOLDS * largest]


def _memory(processes: Iterable[Path], left_out: re.Pattern[str]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for process in processes:
        with contextlib.suppress(OSError), (process / "numa_maps").open() as maps:
            found.update(memory_by_node(maps, left_out))
    return dict(found)


def memory_by_node(numa_maps: Iterable[str], left_out: re.Pattern[str] = LIBRARY) -> dict[int, int]:
    """KiB of each NUMA node, from the lines of /proc/PID/numa_maps but for those that fit a pattern."""
    found: Counter[int] = Counter()
    for line in numa_maps:
        if left_out.search(line):
            continue
        size = re.search(r"\bkernelpagesize_kB=([0-9]{1,9})\b", line)
        for node, pages in re.findall(r"\bN([0-9]{1,3})=([0-9]{1,15})\b", line):
            found[int(node)] += int(pages) * (int(size[1]) if size else 4)
    return dict(found)


def _allowed(process: Path) -> set[int]:
    """Processors that a process's threads may run on."""
    found: set[int] = set()
    for status in process.glob("task/*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
            found |= processors(lines["Cpus_allowed_list"])
    return found


def processors(cpu_list: str) -> set[int]:
    """The processors of a list as the kernel writes it: `0-3,8`."""
    found: set[int] = set()
    for part in filter(None, cpu_list.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def listed(numbers: Collection[int]) -> str:
    """Numbers as the kernel writes them: the other way round."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def misconfigured(told: Mapping[str, Any], unit: Mapping[str, str]) -> str:
    """What of a unit's own settings is not as it is to be; empty when all is. A policy that nobody set is `n/a`."""
    found = unit.get("NUMAPolicy", "")
    found = "default" if found in ("", "n/a") else found
    if found != told["policy"]:
        return f"the unit's NUMAPolicy is {found}, not {told['policy']}"
    nodes = processors(unit.get("NUMAMask", "").replace(" ", ","))
    if told["policy"] != "default" and nodes != set(told["nodes"]):
        return f"the unit's NUMAMask is {sorted(nodes)}, not {sorted(told['nodes'])}"
    return ""


def misplaced(told: Mapping[str, Any], nodes: str) -> str:
    """What of a container's own settings is not as it is to be; empty when all is.

    Args:
        told: What is wanted.
        nodes: Docker's list of nodes that its memory may lie on; empty: all.
    """
    wanted = set(told["nodes"]) if told["policy"] == "bind" else set()
    found = processors(nodes)
    return "" if found == wanted else f"Docker keeps its memory to nodes {sorted(found)}, not {sorted(wanted)}"


def unknowable(told: Mapping[str, Any], found: Found) -> str:
    """Why nothing can be said; empty where something can."""
    if told["simulated"]:
        return "the nodes of a twin are simulated"
    wants = told["policy"] != "default" or told["spread"] or told["processors"] or told["on_one"]
    if found.memory is None:
        return "this kernel tells nothing of NUMA, and memory is wanted on certain nodes" if wants else ""
    wanted = {*told["nodes"], *told["spread"]}
    if not wanted <= set(found.of_node):
        return f"NUMA nodes {listed(wanted)} are wanted, and this machine has {listed(found.of_node)} alone"
    if told["processors"] and not _nodes_of(told["processors"], found.of_node):
        return f"this machine has none of the processors {'|'.join(told['processors'])}"
    return ""


def promise(told: Mapping[str, Any]) -> str:
    """What is asked of the memory, in words."""
    if told["policy"] != "default":
        return f"{told['policy']} on {_named(told['nodes'])}"
    if told["spread"]:
        return f"spread over nodes {_named(told['spread'])}"
    if told["processors"]:
        return f"beside processors {'|'.join(told['processors'])}"
    return "on one node" if told["on_one"] else "default"


def breach(told: Mapping[str, Any], found: Found) -> str:
    """What is not as it is asked for; empty when all is."""
    memory = found.memory or {}
    total = sum(memory.values())
    if not total:
        return "the process has no memory that could be looked at"
    if told["policy"] == "default" and told["spread"]:
        return _badly_spread(memory, told["spread"])
    if told["policy"] == "default" and told["on_one"] and max(memory.values()) < ON_ONE * total:
        return f"{_places(memory)}, and the engine is told to keep to one node"
    wrong = _against_policy(told, found, memory) if told["policy"] != "default" else ""
    if not wrong and told["processors"]:
        near = _nodes_of(told["processors"], found.of_node)
        stray = _stray(memory, near)
        if stray:
            named = f"processors {'|'.join(told['processors'])}, which are of node {_named(sorted(near))}"
            return f"{stray}, and the engine is told to keep to {named}"
    return wrong


def _against_policy(told: Mapping[str, Any], found: Found, memory: Mapping[int, int]) -> str:
    policy, nodes = told["policy"], told["nodes"]
    if stray := _stray(memory, nodes):
        return f"{stray}, and the policy is {policy} on {_named(nodes)}"
    shares = [memory.get(node, 0) for node in nodes]
    if policy == "interleave" and max(shares) > UNEVEN * max(min(shares), 1):
        return f"uneven: {_places(memory)}"
    # Docker is told where a container's memory lies, and not where its threads run.
    if policy == "bind" and not found.container:
        wanted = set().union(*(found.of_node.get(node, set()) for node in nodes))
        if not found.allowed <= wanted:
            return f"may run on processors {listed(found.allowed - wanted)} of other nodes"
    return ""


def _badly_spread(memory: Mapping[int, int], nodes: Sequence[int]) -> str:
    if stray := _stray(memory, nodes):
        return f"{stray}, and the engine is told to keep to {_named(nodes)}"
    least = LEAST_OF_A_SHARE * sum(memory.values()) / len(nodes)
    if any(memory.get(node, 0) < least for node in nodes):
        return f"{_places(memory)}, and the engine is told to spread it over {_named(nodes)}"
    return ""


def _stray(memory: Mapping[int, int], nodes: Collection[int]) -> str:
    """What lies on other nodes than these, in words; empty where that is next to nothing."""
    stray = {node: kib for node, kib in memory.items() if node not in nodes}
    return _places(stray) if sum(stray.values()) > STRAY * sum(memory.values()) else ""


def _nodes_of(lists: Iterable[str], of_node: Mapping[int, set[int]]) -> set[int]:
    """The nodes that processors are of."""
    wanted = set().union(*(processors(one) for one in lists))
    return {node for node, own in of_node.items() if own & wanted}


def _places(memory: Mapping[int, int]) -> str:
    return ", ".join(f"{kib // 1024} MiB on node {node}" for node, kib in sorted(memory.items()))


def _named(nodes: Iterable[int]) -> str:
    return ", ".join(map(str, nodes))


def main() -> None:
    """Judge what the standard input names; or, where the verification runs it, what it was handed as DATA."""
    asked = globals()["DATA"] if "DATA" in globals() else json.load(sys.stdin)
    json.dump([judged(told) for told in asked], sys.stdout)


if __name__ == "__main__":
    main()
