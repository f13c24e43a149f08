"""What Ollama is told, for a service of a profile: its environment, the Modelfile, and where the model has to lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from boxwright.model.catalogue import Model
from boxwright.model.engine_settings import EngineTable, environment
from boxwright.model.stack import EngineSetting, Service
from boxwright.model.weights import Weights

Placement = Literal["cards", "memory", "both"]

# Of experts or layers that are kept in memory on purpose; llama-server, which Ollama starts, reads these.
_KEPT_IN_MEMORY = ("LLAMA_ARG_CPU_MOE", "LLAMA_ARG_N_CPU_MOE", "LLAMA_ARG_OVERRIDE_TENSOR")
# Requests that wait for each one that is being answered; those beyond are told 503 at once.
_WAITING_FOR_EACH = 16
# After so long without progress, or from what it takes for the whole model until that answers, Ollama gives up a load.
_LOADS_IN_S = 300


def ollama_environment(
    table: EngineTable,
    version: str,
    service: Service,
    store: str,
    visible: Sequence[int] | None,
    *,
    patience_s: int,
) -> dict[str, str]:
    """Environment variables that this release has; what the profile sets goes before what follows from the box.

    Args:
        table: Which variables the releases have.
        version: The release.
        service: What is wanted.
        store: The folder of Ollama's own form of the models.
        visible: The cards that it may see; None where it may see all.
        patience_s: How long the model may take to load.

    Raises:
        ValueError: The release does not take a setting of the profile.
    """
    wanted: dict[str, EngineSetting] = {
        "OLLAMA_HOST": f"127.0.0.1:{service.engine_port}",
        "OLLAMA_MODELS": store,
        "OLLAMA_CONTEXT_LENGTH": service.context_tokens,  # else 4k, 32k or 256k, by the size of the cards
        "OLLAMA_NUM_PARALLEL": service.parallel_requests,
        "OLLAMA_MAX_QUEUE": _WAITING_FOR_EACH * service.parallel_requests,
        "OLLAMA_MAX_LOADED_MODELS": 1,  # the service's own, under whichever of its names
        "OLLAMA_KEEP_ALIVE": "-1",  # for good: whoever asks first in the morning does not wait for the disk
        "OLLAMA_NO_CLOUD": True,
        "OLLAMA_NOHISTORY": True,
    }
    if patience_s > _LOADS_IN_S:
        wanted["OLLAMA_LOAD_TIMEOUT"] = f"{patience_s}s"
    if visible is not None:
        wanted["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, visible)) or "-1"
    if service.numa.policy != "default":
        wanted["LLAMA_ARG_NUMA"] = "numactl"  # what the unit's NUMAPolicy= says
    there = {name: value for name, value in wanted.items() if table.find(name, version)}
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    variables = environment(table, version, there | own)
    if "CUDA_VISIBLE_DEVICES" in variables:
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # CUDA's own variable: the numbers are those of the profile
    return variables


def modelfile(table: EngineTable, version: str, service: Service, weights: Weights, directory: str) -> str:
    """What `ollama create` is given: the verified weights, and what is known of the model beyond them.

    Args:
        table: Which variables the releases have.
        version: The release.
        service: What is wanted.
        weights: What it serves.
        directory: The folder of all weights.
    """
    model, folder = weights.model, weights.folder(directory)
    names = [file.name for file in weights.build.files if file.name.endswith(".gguf")]
    # Of shards, their folder is named: Ollama takes what is in it, and puts the shards together.
    lines = [f"FROM {folder}/{names[0]}" if len(names) == 1 else f"FROM {_folder_of_shards(folder, names)}"]
    drawn = model.sampling.model_dump(exclude_none=True)
    lines += [f"PARAMETER {name} {value}" for name, value in sorted(drawn.items())]
    if table.find("OLLAMA_CONTEXT_LENGTH", version) is None:  # a release without it is told with the model
        lines.append(f"PARAMETER num_ctx {service.context_tokens}")
    if model.ollama_template:
        lines.append(f'TEMPLATE """{model.ollama_template}"""')
    return "\n".join(lines)


def _folder_of_shards(folder: str, names: Sequence[str]) -> str:
    below = {name.rpartition("/")[0] for name in names}
    return f"{folder}/{below.pop()}".rstrip("/") if len(below) == 1 else folder


def placement(service: Service, cards: Sequence[int]) -> Placement:
    """Where the model has to lie when it is loaded: on the cards, in memory, or in both on purpose."""
    if not cards:
        return "memory"
    spellings = {name.upper() for name, value in service.engine_settings.items() if value not in (False, 0)}
    return "both" if spellings & set(_KEPT_IN_MEMORY) else "cards"


def names_of(model: Model) -> tuple[str, ...]:
    """Under which names Ollama knows it; the first one is the model's own."""
    return (model.id, *model.aliases)
