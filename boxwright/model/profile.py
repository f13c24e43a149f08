"""A profile: the contract of a kind of box, from its hardware to the model that it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.base import AbsolutePath, Frozen, Identifier, Port
from boxwright.model.hardware import Hardware
from boxwright.model.platform import BasePolicy, FirewallPolicy, GatewayPolicy, KernelTuning, MonitoringPolicy

EngineName = Literal["llama_cpp", "ollama", "vllm", "vllm_ascend", "ktransformers"]
DEPLOYABLE: frozenset[EngineName] = frozenset({"llama_cpp"})  # the engines that Boxwright installs so far


class Stack(Frozen):
    """What serves: a model, an engine and a chat page."""

    model: str
    engine: EngineName
    context_tokens: Annotated[int, Field(ge=512)] = 4096  # per request
    parallel_requests: Annotated[int, Field(ge=1, le=256)] = 2
    chat_page: Literal["open_webui", "none"] = "open_webui"
    open_webui_flavour: Literal["slim"] = "slim"  # without local embeddings; the full one is not packaged yet
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
    firewall: FirewallPolicy = FirewallPolicy()
    gateway: GatewayPolicy = GatewayPolicy()
    monitoring: MonitoringPolicy = MonitoringPolicy()
