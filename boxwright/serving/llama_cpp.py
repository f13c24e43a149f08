"""What llama.cpp's server is told, for a service of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from boxwright.model.engine_settings import EngineTable, arguments, environment
from boxwright.model.hardware import Hardware
from boxwright.model.setting import Value
from boxwright.model.stack import Service
from boxwright.model.weights import Weights
from boxwright.sizing.offload import CACHE_BYTES, Offload, offload

# Who sets one of these says where the weights lie, and nothing of it is added.
_PLACES = {"--gpu-layers", "--n-cpu-moe", "--cpu-moe", "--n-cpu-ffn", "--override-tensor", "--tensor-split", "--fit"}
_PLACES |= {"LLAMA_ARG_N_GPU_LAYERS", "LLAMA_ARG_N_CPU_MOE", "LLAMA_ARG_CPU_MOE", "LLAMA_ARG_N_CPU_FFN"}
_PLACES |= {"LLAMA_ARG_OVERRIDE_TENSOR", "LLAMA_ARG_TENSOR_SPLIT", "LLAMA_ARG_FIT"}


def own_settings(table: EngineTable, service: Service) -> dict[str, Value]:
    """What the profile itself sets, by the engine's spelling."""
    return {table.canonical(name): value for name, value in service.engine_settings.items()}


def placement(service: Service, weights: Weights, cards: tuple[int, ...], own: Mapping[str, Value]) -> Offload | None:
    """What of the model lies on cards.

    Args:
        service: What is served.
        weights: The build that is loaded.
        cards: Bytes of memory of each of its cards.
        own: What the profile itself sets.

    Returns:
        None where the profile says it itself, or nobody knows how large the weights are.
    """
    size = weights.model.weight_bytes(weights.build)
    if size is None or not _PLACES.isdisjoint(own):
        return None
    cache = CACHE_BYTES.get(str(own.get("--cache-type-k", "f16")), 2.0)
    tokens = service.context_tokens * service.parallel_requests
    return offload(weights.model.architecture, size, tokens, cards, cache)


def layers_on_cards(own: Mapping[str, Value]) -> int | Literal["all"] | None:
    """What a profile itself says of layers on cards; None where it leaves their number open.

    Args:
        own: Its settings, by the engine's spelling.
    """
    if own.get("--device") == "none":
        return 0
    said = own.get("--gpu-layers", own.get("LLAMA_ARG_N_GPU_LAYERS"))
    if said == "all":
        return "all"
    return int(said) if isinstance(said, int) or (isinstance(said, str) and said.isdigit()) else None


def llama_cpp_settings(
    service: Service, weights: Weights, hardware: Hardware, placed: Offload | None, *, built: bool, cards: bool
) -> dict[str, Value]:
    """Flags by their names, as they follow from the service and the box.

    Left to the deploy: the model's place and name, address, port, key and threads.

    Args:
        service: What is served.
        weights: The build that is loaded.
        hardware: Of the machine.
        placed: What of the model lies on cards; None: the engine works it out, or the profile says it.
        built: Whether the program was built for the machine's cards. Debian's knows of none.
        cards: Whether the service has some.
    """
    flags: dict[str, Value] = {
        "--ctx-size": service.context_tokens * service.parallel_requests,
        "--parallel": service.parallel_requests,
        "--cors-origins": "localhost",
        "--cors-credentials": False,
        "--metrics": True,
        "--slots": False,
        "--ui": False,
        "--offline": True,
    }
    if weights.model.purpose == "embedding":
        flags["--embedding"] = True
    if built and not cards and hardware.accelerators:
        flags["--device"] = "none"
    layers = weights.model.architecture.layers
    if placed and cards:
        flags |= _placed(placed, layers)
    by_cards_alone = bool(cards and placed and placed.gpu_layers > layers and not placed.cpu_moe_layers)
    if hardware.numa_nodes > 1 and not by_cards_alone:
        # With direct reads a NUMA machine answers at half the speed: llama.cpp, pull request 18166.
        flags |= {"--numa": "distribute" if service.numa.policy == "default" else "numactl", "--load-mode": "mmap"}
    return flags


def _placed(placed: Offload, layers: int) -> dict[str, Value]:
    flags: dict[str, Value] = {"--gpu-layers": "all" if placed.gpu_layers > layers else placed.gpu_layers}
    if placed.cpu_moe_layers:
        flags["--n-cpu-moe"] = placed.cpu_moe_layers
    if placed.tensor_split:
        flags["--tensor-split"] = ",".join(map(str, placed.tensor_split))
    return flags


def rendered(table: EngineTable, version: str, settings: Mapping[str, Value]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words of the command line, and the variables.

    Raises:
        ValueError: The release does not take one of the settings.
    """
    flags = {name: value for name, value in settings.items() if name.startswith("-")}
    variables = {name: value for name, value in settings.items() if not name.startswith("-")}
    return arguments(table, version, flags), environment(table, version, variables)


def card_environment(cards: tuple[int, ...], of: int) -> dict[str, str]:
    """Which cards a service sees.

    Args:
        cards: Its own, by their numbers in PCI order.
        of: Cards that the machine has.
    """
    if not cards:
        return {}
    variables = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, cards))}
    if len(cards) == of:
        variables = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if len(cards) > 1:
        variables["CUDA_SCALE_LAUNCH_QUEUES"] = "4x"  # llama.cpp's docs/build.md, for layers on several cards
    return variables
