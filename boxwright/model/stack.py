"""The stack: which engines serve which models on a box, on which of its cards, and the page that people chat on."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from boxwright.model.base import AbsolutePath, Frozen, Identifier, Port
from boxwright.model.chat_page import ChatPage
from boxwright.model.images import PinnedImage
from boxwright.model.mig import MigSlice

EngineName = Literal["llama_cpp", "ollama", "vllm", "vllm_ascend", "vllm_rocm", "ktransformers", "tensorrt_llm"]
# The engines that take a slice of a card for a card, and see no other.
_ON_SLICES: frozenset[EngineName] = frozenset({"llama_cpp", "ollama", "vllm"})
# The engines that run in a container, whose image has a digest.
_CONTAINED: frozenset[EngineName] = frozenset({"tensorrt_llm", "vllm_ascend", "vllm_rocm"})
# Each has a deploy of its name.
ENGINES: frozenset[EngineName] = frozenset(get_args(EngineName))

_UNITS: dict[EngineName, str] = {
    "llama_cpp": "llama-server",
    "ollama": "ollama",
    "vllm": "vllm",
    "vllm_ascend": "vllm-ascend",
    "vllm_rocm": "vllm-rocm",
    "ktransformers": "ktransformers",
    "tensorrt_llm": "tensorrt-llm",
}

Executor = Literal["mp", "ray"]  # by the names of vLLM's --distributed-executor-backend
EngineSetting = bool | int | float | str | tuple[str | int | float, ...]


class NumaPolicy(Frozen):
    """On which NUMA nodes the engine's memory lies and, where it is bound, its threads run."""

    policy: Literal["default", "bind", "interleave"] = "default"  # default: the kernel's own
    nodes: tuple[Annotated[int, Field(ge=0, le=63)], ...] = ()

    @model_validator(mode="after")
    def _nodes_are_named(self) -> NumaPolicy:
        if (self.policy == "default") != (not self.nodes):
            raise ValueError("bind and interleave need nodes, and the default policy has none")
        return self


class Parallelism(Frozen):
    """How one model is spread over cards. The product of the three sizes is the number of cards that it takes."""

    tensor: Annotated[int, Field(ge=1, le=64)] = 1  # cards that share each layer
    pipeline: Annotated[int, Field(ge=1, le=64)] = 1  # groups of layers, each on cards of its own
    data: Annotated[int, Field(ge=1, le=64)] = 1  # whole copies of the model
    expert: bool = False  # the experts of a mixture-of-experts model lie on different cards

    @property
    def cards(self) -> int:
        """Cards that the model takes, over all nodes."""
        return self.tensor * self.pipeline * self.data

    def __str__(self) -> str:
        names = (("tensor", self.tensor), ("pipeline", self.pipeline), ("data", self.data))
        return " x ".join(f"{name} {size}" for name, size in names if size > 1) or "one card"


class Service(Frozen):
    """A model, and the engine that serves it."""

    model: str
    build: Identifier | None = None  # of the model's weights; None: the preferred one of a format that the engine reads
    engine: EngineName
    engine_version: str | None = None  # None: the one that Boxwright was tested with
    engine_settings: dict[str, EngineSetting] = {}  # by the engine's own names, such as gpu-memory-utilization
    engine_image: PinnedImage | None = None  # of an engine in a container; None: the one pinned for the release
    # What is left out of these two is taken from sizing where the model lies on cards, and is this elsewhere.
    context_tokens: Annotated[int, Field(ge=512)] = 4096  # per request
    parallel_requests: Annotated[int, Field(ge=1, le=1024)] = 2  # at once, of each copy of the model
    accelerators: tuple[Annotated[int, Field(ge=0, le=63)], ...] | None = None  # None: all of the machine's
    mig_slice: MigSlice | None = None  # in place of whole cards, a slice of one
    parallelism: Parallelism | None = None  # None: chosen for the cards and their links
    executor: Executor = "mp"  # how vLLM's processes on several nodes are started: its own way (mp), or Ray's
    numa: NumaPolicy = NumaPolicy()
    engine_port: Port = 8000  # on loopback
    least_tokens_per_s: Annotated[float, Field(gt=0)] | None = None  # of one answer; slower, and a start has failed

    @property
    def unit(self) -> str:
        """The systemd unit that runs it, without `.service`."""
        return _UNITS[self.engine]

    @property
    def requests_at_once(self) -> int:
        """Requests that all copies of the model work on at a time."""
        return self.parallel_requests * (self.parallelism.data if self.parallelism else 1)

    def leaves_open(self, setting: str) -> bool:
        """Whether the profile says nothing of a setting, so that it is chosen for the box."""
        return setting not in self.model_fields_set or getattr(self, setting) is None

    @property
    def knows_keys(self) -> bool:
        """Whether the engine asks for a key; one that does not is kept from people's accounts by other means."""
        return self.engine not in ("ollama", "tensorrt_llm")

    @property
    def contained(self) -> bool:
        """Whether it runs in a container: the process of its unit is then the container runtime's client."""
        return self.engine in _CONTAINED

    @property
    def metrics_path(self) -> str | None:
        """Where below its address the engine shows metrics to Prometheus; None where it shows none."""
        # TensorRT-LLM's own /metrics is JSON, of what it has computed since somebody asked last.
        return {"ollama": None, "tensorrt_llm": "/prometheus/metrics"}.get(self.engine, "/metrics")

    @model_validator(mode="after")
    def _cards_are_named_once(self) -> Service:
        if self.accelerators is not None and len(set(self.accelerators)) != len(self.accelerators):
            raise ValueError("accelerators: a card is named twice")
        return self

    @model_validator(mode="after")
    def _slice_is_one_device(self) -> Service:
        if self.mig_slice is None:
            return self
        if self.engine not in _ON_SLICES:
            raise ValueError(
                f"mig_slice: {self.engine} is not given slices of cards; {', '.join(sorted(_ON_SLICES))} are"
            )
        if self.accelerators is not None:
            raise ValueError("a service has whole cards (accelerators) or a slice of one (mig_slice), not both")
        if self.parallelism and self.parallelism.cards > 1:
            raise ValueError(
                f"parallelism: {self.parallelism.cards} devices, and mig_slice is one. A model is not spread over "
                "slices: they cannot reach each other (NCCL and CUDA's peer-to-peer do not work on them)"
            )
        return self

    @model_validator(mode="after")
    def _executor_is_of_vllm(self) -> Service:
        if self.executor != "mp" and self.engine != "vllm":
            raise ValueError(f"executor: {self.engine} starts its processes by itself; vllm alone does by Ray")
        return self

    @model_validator(mode="after")
    def _image_is_of_a_container(self) -> Service:
        if self.engine_image and not self.contained:
            raise ValueError(f"engine_image: {self.engine} runs in no container")
        return self


class FurtherService(Service):
    """A service beside the main one: an embedding model, say. Only the main one has the chat page."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]

    @property
    def unit(self) -> str:
        """The systemd unit that runs it, without `.service`."""
        return f"{super().unit}-{self.name}"


class Stack(Service, ChatPage):
    """What serves on a box: the main service, what stands beside it, and a chat page."""

    llama_cpp_program: Literal["packages", "source"] | None = None  # Debian's, or built; None: built where cards serve
    models_directory: AbsolutePath = "/srv/models"
    further: tuple[FurtherService, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The main service and all others."""
        return (self, *self.further)

    @model_validator(mode="after")
    def _services_do_not_meet(self) -> Stack:
        ports = [*(one.engine_port for one in self.services), self.chat_page_port]
        twice = sorted({port for port in ports if ports.count(port) > 1})
        if twice:
            raise ValueError(f"two services listen on port {twice[0]}")
        names = [one.name for one in self.further]
        if len(set(names)) != len(names):
            raise ValueError("further: two services have one name")
        cards = [card for one in self.services for card in one.accelerators or ()]
        shared = sorted({card for card in cards if cards.count(card) > 1})
        if shared:
            raise ValueError(f"two services are given card {shared[0]}")
        cut = sorted({one.mig_slice.card for one in self.services if one.mig_slice} & set(cards))
        if cut:
            raise ValueError(f"card {cut[0]} is given to one service whole, and to another in slices")
        if len({one.executor for one in self.services if one.engine == "vllm"}) > 1:
            raise ValueError("executor: two services of vllm name two, and the nodes of a box are joined one way")
        for engine in sorted({one.engine for one in self.services}):
            if len({one.engine_version for one in self.services if one.engine == engine}) > 1:
                raise ValueError(f"engine_version: two services of {engine} name two, and a box has one of it")
        return self
