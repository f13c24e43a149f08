"""A profile: the contract of a kind of box, from its hardware to the model that it serves."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, Identifier
from boxwright.model.contract import ProfileWaiver
from boxwright.model.drivers import (
    AmdRocmPolicy,
    AscendPolicy,
    CudaToolkitPolicy,
    HygonDtkPolicy,
    NvidiaDriverPolicy,
)
from boxwright.model.hardware import Disk, Hardware
from boxwright.model.node_ports import MOST_SERVICES, taken_between_nodes
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
from boxwright.model.stack import Service, Stack


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
    waivers: tuple[ProfileWaiver, ...] = ()

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
    def _stack_is_on_this_machine(self) -> Profile:
        services = self.stack.services
        silent = any(one.accelerators is None and one.mig_slice is None for one in services)
        if self.hardware.accelerator_count and len(services) > 1 and silent:
            raise ValueError(
                "stack: of several services, each says its accelerators, or its mig_slice; one on the CPU has none: []"
            )
        if self.nodes > 1 and any(one.mig_slice for one in services):
            raise ValueError("stack: slices of cards (mig_slice) do not serve together with other machines")
        if self.nvidia_driver is None and any(one.mig_slice for one in services):
            raise ValueError("stack: slices of cards (mig_slice) are made by the nvidia_driver, which is not there")
        self._check_nodes()
        places = ("stack", *(f"stack.further.{number}" for number in range(len(services) - 1)))
        for place, service in zip(places, services, strict=True):
            self._check_place(place, service)
        return self

    def _check_nodes(self) -> None:
        spanning = [one for one in self.stack.services if one.engine == "vllm"]
        if self.nodes > 1 and spanning and self.rdma is None:
            raise ValueError(
                "nodes: vLLM's processes reach each other over an interface that role rdma finds by the network "
                "between the nodes. Add `rdma: {}`; nodes without RDMA adapters talk over sockets"
            )
        if self.nodes > 1:
            self._check_ports_between_nodes(len(spanning))
        by_ray = [one for one in spanning if one.executor == "ray"]
        if self.nodes > 1 and len(by_ray) > 1:
            raise ValueError(
                "stack.executor: by Ray, one service of vLLM stands over the nodes: Ray is given the cards of one. "
                "Take mp"
            )
        if self.nodes == 1 and by_ray:
            raise ValueError("stack.executor: Ray joins several machines, and nodes is 1")
        if not all(self.cards_of(one) for one in by_ray):
            raise ValueError("stack.executor: by Ray, vLLM computes on cards alone, and a service has none. Take mp")

    def _check_ports_between_nodes(self, spanning: int) -> None:
        if spanning > MOST_SERVICES:
            raise ValueError(
                f"stack.further: {spanning} services of vLLM over several nodes, and {MOST_SERVICES} have ports"
            )
        taken = taken_between_nodes(spanning)
        engines = [("engine_port", one.engine_port) for one in self.stack.services]
        for name, port in (*engines, ("chat_page_port", self.stack.chat_page_port)):
            if port in taken:
                raise ValueError(
                    f"stack.{name}: by {taken[0]} to {taken[-1]} the nodes' processes of vLLM find each other, and "
                    f"{port} is one of these ports. Take another"
                )

    def _check_place(self, place: str, service: Service) -> None:
        nodes = sorted(node for node in service.numa.nodes if node >= self.hardware.numa_nodes)
        if nodes:
            raise ValueError(f"{place}.numa.nodes: the machine has no node {', '.join(map(str, nodes))}")
        named = "mig_slice" if service.mig_slice else "accelerators"
        whole = self.cards_of(service) if service.mig_slice or service.accelerators else ()
        beyond = sorted(card for card in whole if card >= self.hardware.accelerator_count)
        if beyond:
            raise ValueError(f"{place}.{named}: the machine has no card {', '.join(map(str, beyond))}")
        # Without cards, the processors of a machine count as one device.
        spread, devices = service.parallelism, (len(self.cards_of(service)) or 1) * self.nodes
        if spread and spread.cards != devices:
            kind = "cards" if self.cards_of(service) else "machines"
            raise ValueError(
                f"{place}.parallelism: tensor {spread.tensor} x pipeline {spread.pipeline} x data {spread.data} "
                f"is {spread.cards} {kind}, and the service has {devices}"
            )

    @property
    def builds_llama_cpp(self) -> bool:
        """Whether llama.cpp is built for these machines: the packages of Debian compute on processors alone."""
        services = [one for one in self.stack.services if one.engine == "llama_cpp"]
        wanted = self.stack.llama_cpp_program
        return bool(services) and (wanted == "source" or (wanted is None and any(map(self.cards_of, services))))

    def cards_of(self, service: Service) -> tuple[int, ...]:
        """The cards of each node that a service uses, by their numbers in PCI order; a slice counts as its card."""
        everything = tuple(range(self.hardware.accelerator_count))
        if service.mig_slice:
            return (service.mig_slice.card,)
        return everything if service.accelerators is None else service.accelerators

    def device_memory_gib(self, service: Service) -> tuple[float, ...]:
        """The memory of each device of a node that a service has: of its cards, or of its slice of one."""
        if service.mig_slice:
            return (service.mig_slice.memory_gib,)
        memory = [group.memory_gib for group in self.hardware.accelerators for _ in range(group.count)]
        return tuple(memory[card] for card in self.cards_of(service))
