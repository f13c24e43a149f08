"""A profile: the contract of a kind of box, from its hardware to the model that it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import AbsolutePath, Frozen, Identifier, Port
from boxwright.model.hardware import Hardware
from boxwright.model.platform import (
    BasePolicy,
    FirewallPolicy,
    GatewayPolicy,
    KernelTuning,
    MonitoringPolicy,
    NvidiaDriverPolicy,
)

EngineName = Literal["llama_cpp", "ollama", "vllm", "vllm_ascend", "ktransformers"]
DEPLOYABLE: frozenset[EngineName] = frozenset({"llama_cpp"})  # the engines that Boxwright installs so far


class NumaPolicy(Frozen):
    """On which NUMA nodes the engine's memory lies and, where it is bound, its threads run."""

    policy: Literal["default", "bind", "interleave"] = "default"  # default: the kernel's own
    nodes: tuple[Annotated[int, Field(ge=0, le=63)], ...] = ()

    @model_validator(mode="after")
    def _nodes_are_named(self) -> NumaPolicy:
        if (self.policy == "default") != (not self.nodes):
            raise ValueError("bind and interleave need nodes, and the default policy has none")
        return self


class Stack(Frozen):
    """What serves: a model, an engine and a chat page."""

    model: str
    engine: EngineName
    context_tokens: Annotated[int, Field(ge=512)] = 4096  # per request
    parallel_requests: Annotated[int, Field(ge=1, le=256)] = 2
    chat_page: Literal["open_webui", "none"] = "open_webui"
    open_webui_flavour: Literal["slim"] = "slim"  # without local embeddings; the full one is not packaged yet
    numa: NumaPolicy = NumaPolicy()
    models_directory: AbsolutePath = "/srv/models"
    engine_port: Port = 8000  # on loopback
    chat_page_port: Port = 8080  # on loopback

    @property
    def deployable(self) -> bool:
        """Whether Boxwright installs this engine; where not, it makes the machine and stops there."""
        return self.engine in DEPLOYABLE


class Profile(Frozen):
    """Everything that is the same for each box of a kind."""

    name: Identifier
    summary: str
    nodes: Annotated[int, Field(ge=1, le=16)] = 1  # machines that serve one model together
    hardware: Hardware
    stack: Stack
    base: BasePolicy = BasePolicy()
    kernel: KernelTuning = KernelTuning()
    nvidia_driver: NvidiaDriverPolicy | None = None  # None: no such driver is installed
    firewall: FirewallPolicy = FirewallPolicy()
    gateway: GatewayPolicy = GatewayPolicy()
    monitoring: MonitoringPolicy = MonitoringPolicy()

    @model_validator(mode="after")
    def _numa_nodes_are_there(self) -> Profile:
        missing = sorted(node for node in self.stack.numa.nodes if node >= self.hardware.numa_nodes)
        if missing:
            raise ValueError(f"stack.numa.nodes: the machine has no node {', '.join(map(str, missing))}")
        return self
