"""What vLLM is told, for a service of a profile on one node."""

from __future__ import annotations

from dataclasses import dataclass

from boxwright.model.catalogue import Model
from boxwright.model.engine_settings import EngineTable, environment
from boxwright.model.hardware import Hardware
from boxwright.model.node_ports import NodePorts, node_ports
from boxwright.model.stack import EngineSetting, Parallelism, Service

# Of the memory of a machine without cards, what the KV cache may take at most; weights and activations need the rest.
_CPU_CACHE_SHARE = 0.25
_CPU_CACHE_MOST_GIB = 40
_START_LIMIT = "VLLM_ENGINE_READY_TIMEOUT_S"


@dataclass(frozen=True)
class Node:
    """One of the machines that serve a model together."""

    rank: int  # 0 is the head: it alone answers requests
    count: int
    head_address: str
    address: str = ""  # its own, between the nodes

    @property
    def answers(self) -> bool:
        """Whether clients are served here."""
        return self.rank == 0


def vllm_settings(
    service: Service, model: Model, hardware: Hardware, spread: Parallelism, node: Node, *, number: int = 0
) -> dict[str, EngineSetting]:
    """Flags by their names without dashes, as they follow from the service and the box.

    Left to the deploy: the model's place, its names, address, port and key.

    Args:
        service: What is served.
        model: Its model.
        hardware: The machine.
        spread: How the model lies on cards.
        node: Which of the box's machines this one is.
        number: Of the service among those of vLLM; over several machines each has ports of its own.
    """
    flags: dict[str, EngineSetting] = {
        "max-model-len": service.context_tokens,
        "max-num-seqs": service.parallel_requests,
        "disable-access-log-for-endpoints": "/health,/metrics",
        "disable-fastapi-docs": True,
        "fail-on-environ-validation": True,
        # Seconds for requests in flight. systemd and Docker wait less and cut what has not ended, which the gateway
        # tells as 503: vLLM itself would answer 500.
        "shutdown-timeout": 120,
        "sse-keep-alive-interval": 15,  # seconds; a proxy between closes what is silent for long
    }
    if not hardware.accelerators:
        flags |= {"dtype": "bfloat16"} | _without_compiler(spread)
    if hardware.accelerators and hardware.numa_nodes > 1:
        flags["numa-bind"] = True
    if model.reasoning_parser:
        flags["reasoning-parser"] = model.reasoning_parser
    return flags | _sizes(spread) | _over_nodes(service, spread, node, node_ports(number))


# What Boxwright would like of a release, and can do without where it does not have it yet.
_DISPENSABLE = frozenset(
    {
        "disable-access-log-for-endpoints",
        "disable-fastapi-docs",
        "fail-on-environ-validation",
        "numa-bind",
        "shutdown-timeout",
        "sse-keep-alive-interval",
    }
)


def as_of(table: EngineTable, version: str, flags: dict[str, EngineSetting]) -> dict[str, EngineSetting]:
    """The flags without those that an older release does not have, and can do without."""
    return {
        name: value
        for name, value in flags.items()
        if name not in _DISPENSABLE or table.find(f"--{name}", version) is not None
    }


def vllm_own_settings(
    table: EngineTable, version: str, service: Service
) -> tuple[dict[str, EngineSetting], dict[str, str]]:
    """What the profile itself sets: flags by their names without dashes, and environment variables.

    Raises:
        ValueError: The release does not take one of them.
    """
    named = {table.canonical(name): value for name, value in service.engine_settings.items()}
    flags = {name.removeprefix("--"): value for name, value in named.items() if name.startswith("--")}
    variables = {name: value for name, value in named.items() if not name.startswith("--")}
    return flags, environment(table, version, variables)


def vllm_start_limit(table: EngineTable, version: str, patience_s: int) -> dict[str, str]:
    """The variable by which vLLM itself gives up a start no sooner than Boxwright does, where its own limit is shorter.

    Where several of its processes answer, as before copies of a model, they wait ten minutes for those that load it: a
    model that takes longer would be ended, and begun anew, each time before it is there.
    """
    setting = table.find(_START_LIMIT, version)
    shorter = setting is not None and int(setting.default or 0) < patience_s
    return {_START_LIMIT: str(patience_s)} if shorter else {}


def _without_compiler(spread: Parallelism) -> dict[str, EngineSetting]:
    """On processors kernels are made by a compiler, which no box is given."""
    if spread.pipeline == 1:
        return {"enforce-eager": True}
    # What a pipeline passes on is laid out when the model is warmed up, which vLLM's CPU backend leaves out where it is
    # to be eager: the first request would end it. So it is warmed up, by a backend that compiles nothing.
    return {"compilation-config": '{"mode": 2, "backend": "eager"}'}


def _sizes(spread: Parallelism) -> dict[str, EngineSetting]:
    flags: dict[str, EngineSetting] = {}
    if spread.tensor > 1:
        flags["tensor-parallel-size"] = spread.tensor
    if spread.pipeline > 1:
        flags["pipeline-parallel-size"] = spread.pipeline
    if spread.data > 1:
        flags["data-parallel-size"] = spread.data
    if spread.expert:
        flags["enable-expert-parallel"] = True
    return flags


def _over_nodes(service: Service, spread: Parallelism, node: Node, ports: NodePorts) -> dict[str, EngineSetting]:
    return _by_ray(spread, node) if service.executor == "ray" else _by_itself(spread, node, ports)


def _by_itself(spread: Parallelism, node: Node, ports: NodePorts) -> dict[str, EngineSetting]:
    """Each node has processes of vLLM that know their rank, and the others' head."""
    if node.count == 1:
        return {}
    flags: dict[str, EngineSetting]
    if spread.data >= node.count:  # copies on each node; of a mixture of experts, they share those
        local = spread.data // node.count
        flags = {
            "data-parallel-size-local": local,
            "data-parallel-address": node.head_address,
            "data-parallel-rpc-port": ports.data,
        }
        if not node.answers:
            flags |= {"headless": True, "data-parallel-start-rank": local * node.rank}
        return flags
    flags = {
        "nnodes": node.count,
        "node-rank": node.rank,
        "master-addr": node.head_address,
        "master-port": ports.master,
    }
    return flags if node.answers else flags | {"headless": True}


def _by_ray(spread: Parallelism, node: Node) -> dict[str, EngineSetting]:
    """The head alone has vLLM, which has Ray start its processes on every node."""
    if spread.data >= node.count:
        return {
            "data-parallel-backend": "ray",
            "data-parallel-size-local": spread.data // node.count,
            "data-parallel-address": node.head_address,
        }
    return {"distributed-executor-backend": "ray"}


def vllm_environment(
    unit: str, hardware: Hardware, cards: tuple[int, ...] | None, node: Node | None = None, *, p2p: bool
) -> dict[str, str]:
    """Environment variables: nothing is fetched and nothing is told to anyone; what the box needs beside.

    Args:
        unit: Of systemd, without `.service`.
        hardware: The machine.
        cards: Which it may see; None: a slice of one, whose id is found when the unit starts.
        node: Which of several machines it is; None: it serves alone.
        p2p: Whether cards reach each other over PCIe or a fabric.
    """
    state = f"/var/lib/{unit}"
    variables = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": f"{state}/cache",
        "TRITON_CACHE_DIR": f"{state}/triton",
        "HOME": state,
    }
    if node and node.count > 1:
        variables["VLLM_HOST_IP"] = node.address  # else each node asks its own routes, and may find another network
    if not hardware.accelerators:
        gib = min(_CPU_CACHE_MOST_GIB, max(1, int(hardware.memory_gib * _CPU_CACHE_SHARE)))
        return variables | {"VLLM_CPU_KVCACHE_SPACE": str(gib)}
    if cards is not None and len(cards) < hardware.accelerator_count:
        variables |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, cards))}
    if not p2p:
        variables["NCCL_P2P_DISABLE"] = "1"  # some drivers offer it where the cards have none, and then hang
    return variables
