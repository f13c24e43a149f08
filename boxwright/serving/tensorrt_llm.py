"""What `trtllm-serve` is told, for a service of a profile, and the container that it runs in."""

from __future__ import annotations

from boxwright.model.engine_settings import EngineTable, arguments, environment
from boxwright.model.setting import Value
from boxwright.model.stack import Parallelism, Service
from boxwright.model.tensorrt_llm import reasoning_parser
from boxwright.model.weights import Weights

OPTIONS = "/etc/trtllm/options.yaml"  # in the container
_MODELS = "/models"  # in the container
_TOKENS_PER_BATCH = 8192  # as NVIDIA's example for DeepSeek R1 has it


def model_place(weights: Weights) -> str:
    """The folder of the weights in the container. The engine calls the model by its last part."""
    return f"{_MODELS}/{weights.model.id}"


def command(
    table: EngineTable, version: str, service: Service, weights: Weights, spread: Parallelism
) -> tuple[str, ...]:
    """The words that the container runs. What the profile itself sets goes before what follows from the box.

    Raises:
        ValueError: The release does not take one of the settings.
    """
    flags: dict[str, Value] = {
        "--host": "127.0.0.1",
        "--port": service.engine_port,
        "--max_batch_size": service.parallel_requests,
        "--max_seq_len": service.context_tokens,
        "--max_num_tokens": max(_TOKENS_PER_BATCH, service.context_tokens),
        "--tp_size": spread.tensor,
        "--pp_size": spread.pipeline,
        "--extra_llm_api_options": OPTIONS,
    }
    if spread.expert:
        flags["--ep_size"] = spread.tensor
    parser = reasoning_parser(weights.model)
    setting = table.find("--reasoning_parser", version)
    if parser and setting and parser in setting.choices:
        flags["--reasoning_parser"] = parser
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    flags |= {name: value for name, value in own.items() if name.startswith("--")}
    return ("trtllm-serve", "serve", model_place(weights), *arguments(table, version, flags))


def container_environment(table: EngineTable, version: str, service: Service, *, p2p: bool) -> dict[str, str]:
    """Environment variables: nothing is fetched and nothing is told to anyone; what the box needs beside.

    Raises:
        ValueError: The release does not take a setting of the profile.
    """
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    variables = {
        "HOME": "/cache",  # in the container: the one folder beside /tmp that it may write to
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
    if not p2p:
        variables["NCCL_P2P_DISABLE"] = "1"  # some drivers offer it where the cards have none, and then hang
    return variables | environment(table, version, {k: v for k, v in own.items() if not k.startswith("--")})


def options() -> dict[str, Value]:
    """What the file of further options says: without it, no metrics are shown to Prometheus."""
    return {"return_perf_metrics": True}
