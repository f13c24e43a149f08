"""A profile: the contract of a kind of box, from its hardware to the model that it serves."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import AbsolutePath, Frozen, Identifier, Port
from boxwright.model.drivers import (
    AmdRocmPolicy,
    AscendPolicy,
    CudaToolkitPolicy,
    HygonDtkPolicy,
    NvidiaDriverPolicy,
)
from boxwright.model.hardware import Disk, Hardware
from boxwright.model.platform import (
    BasePolicy,
    ContainerRuntimePolicy,
    FirewallPolicy,
    GatewayPolicy,
    KernelTuning,
    MonitoringPolicy,
    RdmaPolicy,
    RebootPolicy,
    StoragePolicy,
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
    storage: StoragePolicy | None = None  # None: models and containers lie on the system's disk
    kernel: KernelTuning = KernelTuning()
    nvidia_driver: NvidiaDriverPolicy | None = None  # None, here and below: no such thing is installed
    cuda_toolkit: CudaToolkitPolicy | None = None
    amd_rocm: AmdRocmPolicy | None = None
    ascend: AscendPolicy | None = None
    hygon_dtk: HygonDtkPolicy | None = None
    rdma: RdmaPolicy | None = None
    container_runtime: ContainerRuntimePolicy | None = None
    reboot: RebootPolicy = RebootPolicy()
    firewall: FirewallPolicy = FirewallPolicy()
    gateway: GatewayPolicy = GatewayPolicy()
    monitoring: MonitoringPolicy = MonitoringPolicy()

    @property
    def folders(self) -> dict[str, str]:
        """Where models and containers lie, by the names that disks hold them under."""
        runtime = self.container_runtime
        return {"models": self.stack.models_directory, "docker": runtime.data_root if runtime else "/srv/docker"}

    def mount_point(self, disk: Disk) -> str:
        """The folder that a disk is mounted at; one that holds several things, at the folder that they share."""
        return os.path.commonpath([self.folders[use] for use in disk.holds])

    @model_validator(mode="after")
    def _disks_have_mount_points(self) -> Profile:
        for disk in self.hardware.disks:
            if "system" not in disk.holds and self.mount_point(disk) == "/":
                folders = ", ".join(self.folders[use] for use in disk.holds)
                raise ValueError(f"hardware.disks: '{disk.name}' holds {folders}, which share no folder to mount it at")
        return self

    @model_validator(mode="after")
    def _numa_nodes_are_there(self) -> Profile:
        missing = sorted(node for node in self.stack.numa.nodes if node >= self.hardware.numa_nodes)
        if missing:
            raise ValueError(f"stack.numa.nodes: the machine has no node {', '.join(map(str, missing))}")
        return self
