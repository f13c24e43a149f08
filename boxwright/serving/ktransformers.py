"""What KTransformers' server is told, for a service of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.model.catalogue import Model
from boxwright.model.hardware import Hardware
from boxwright.model.profile import Profile
from boxwright.model.setting import Value
from boxwright.model.stack import Service

# `kt run`, of kt-kernel 0.7.2: what it starts the server with.
_CHUNK_TOKENS = 4096  # of a prompt that are computed at once; the kernels' buffers are made for as many
_WATCHDOG_S = 3000  # a long prompt takes the processors longer than the server's own 300 s

# kt_kernel/cli/utils/model_registry.py: compute_deepseek_v3_gpu_experts. Of other models `kt run` places one expert.
_BESIDE_EXPERTS_GB = 16
_GB_OF_AN_EXPERT = 3
_EXPERTS_OF_OTHERS = 1


def experts_on_cards(model: Model, cards: int, card_memory_gib: float) -> int:
    """Experts of each layer that lie on cards, by the rule of KTransformers' own command.

    Args:
        model: The model.
        cards: How many share each layer.
        card_memory_gib: Memory of each.
    """
    if model.architecture.kind != "deepseek_v3":
        return _EXPERTS_OF_OTHERS
    return int(max(0.0, cards * (card_memory_gib - _BESIDE_EXPERTS_GB))) // _GB_OF_AN_EXPERT


def threads(service: Service, hardware: Hardware) -> tuple[int, int]:
    """Threads that compute experts, and the pools that they work in: physical cores, and NUMA nodes.

    A second thread of a core adds nothing, and a pool for each node keeps threads by their memory.
    """
    nodes = len(service.numa.nodes) if service.numa.policy == "bind" else hardware.numa_nodes
    return max(1, hardware.cpu.cores * nodes // hardware.numa_nodes), nodes


def pool_nodes(service: Service, hardware: Hardware, own: Mapping[str, Value]) -> tuple[int, ...]:
    """The NUMA nodes that kt-kernel has pools of threads on, each with its part of the experts.

    Args:
        service: The service.
        hardware: The machine.
        own: The profile's own settings, by the engine's own names.
    """
    named, pools = own.get("--kt-numa-nodes"), own.get("--kt-threadpool-count")
    if isinstance(named, Sequence) and not isinstance(named, str):
        return tuple(int(node) for node in named)
    if isinstance(pools, int):
        return tuple(range(pools))
    return service.numa.nodes or tuple(range(threads(service, hardware)[1]))


def kt_settings(
    profile: Profile, service: Service, model: Model, method: str, own: Mapping[str, Value]
) -> dict[str, Value]:
    """Flags by their names. What the profile sets goes before what follows from the box.

    Left to the caller: places of weights, the model's name, address and port. The key is no flag.

    Args:
        profile: Whose service it is.
        service: The service.
        model: What it serves.
        method: How experts are computed.
        own: The profile's own flags, by the engine's own names.
    """
    hardware, cards = profile.hardware, profile.cards_of(service)
    cores, pools = threads(service, hardware)
    memory = [group.memory_gib for group in hardware.accelerators for _ in range(group.count)]
    spread = service.parallelism
    tensor = spread.tensor if spread else max(1, len(cards))
    flags: dict[str, Value] = {
        "--attention-backend": "triton",  # the others compile CUDA when the server starts
        "--chunked-prefill-size": _CHUNK_TOKENS,
        "--context-length": service.context_tokens,
        "--enable-metrics": True,
        "--enable-mixed-chunk": True,
        "--kt-cpuinfer": cores,
        "--kt-method": method,
        "--kt-threadpool-count": pools,
        "--max-running-requests": service.parallel_requests,
        "--watchdog-timeout": _WATCHDOG_S,
    }
    if service.numa.policy == "bind":
        flags["--kt-numa-nodes"] = list(service.numa.nodes)
    if tensor > 1:
        flags |= {"--tensor-parallel-size": tensor, "--enable-p2p-check": True}
    if spread and spread.pipeline > 1:
        flags["--pipeline-parallel-size"] = spread.pipeline
    if "FP8" in method:
        flags["--fp8-gemm-backend"] = "triton"
    if model.reasoning_parser:
        flags["--reasoning-parser"] = model.reasoning_parser.replace("_", "-")  # by this server's spelling
    if not {"--kt-num-gpu-experts", "--kt-gpu-experts-ratio"} & set(own):
        flags["--kt-num-gpu-experts"] = experts_on_cards(model, tensor, min(memory[card] for card in cards))
    return flags | dict(own)


def kt_environment(unit: str, hardware: Hardware, cards: tuple[int, ...], *, p2p: bool) -> dict[str, str]:
    """Environment variables: nothing is fetched and nothing is told to anyone; what the box needs beside.

    The kernels for cards, which their wheels carry in pieces, are put together below HOME at the first start: 1.3 GB.
    """
    state = f"/var/lib/{unit}"
    variables = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": state,
        "TRITON_CACHE_DIR": f"{state}/triton",
    }
    if len(cards) < hardware.accelerator_count:
        variables |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, cards))}
    if not p2p:
        variables["NCCL_P2P_DISABLE"] = "1"  # some drivers offer it where the cards have none, and then hang
    return variables
