"""The stages that a box goes through, in order. Ansible owns the machine, pyinfra owns the workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.model.stack import ENGINES

Engine = Literal["ansible", "pyinfra"]


@dataclass(frozen=True)
class Stage:
    """A role or a deploy, by its name."""

    name: str
    engine: Engine
    purpose: str


PLATFORM = (
    Stage("base", "ansible", "packages, time, logs, upgrades, accounts"),
    Stage("storage", "ansible", "file systems for models and containers, by stable disk ids"),
    Stage("kernel", "ansible", "sysctls, limits, huge pages, kernel arguments, PCIe"),
    Stage("nvidia_driver", "ansible", "the driver, pinned to its branch and held"),
    Stage("cuda_toolkit", "ansible", "NVIDIA's compilers and libraries, of one version"),
    Stage("amd_rocm", "ansible", "AMD's kernel module and ROCm, of one version"),
    Stage("ascend", "ansible", "Huawei's driver, firmware and CANN, from supplied files"),
    Stage("hygon_dtk", "ansible", "Hygon's driver and DTK, from supplied files"),
    Stage("rdma", "ansible", "RDMA tools, and which interfaces join the nodes"),
    Stage("container_runtime", "ansible", "Docker with access to cards, closed to other machines"),
    Stage("reboot", "ansible", "one reboot, where settings wait for it"),
    Stage("gateway", "ansible", "nginx: TLS, users, the paths that may be reached"),
    Stage("monitoring", "ansible", "Prometheus, node exporter, alert rules"),
    Stage("firewall", "ansible", "nftables, closed by default"),
)
WORKLOAD = (
    Stage("models", "pyinfra", "weights, verified by digest"),
    Stage("llama_cpp", "pyinfra", "llama-server on loopback"),
    Stage("vllm", "pyinfra", "vLLM on loopback"),
    Stage("ollama", "pyinfra", "Ollama on loopback, with the model in place"),
    Stage("ktransformers", "pyinfra", "KTransformers on loopback, examined on this processor"),
    Stage("tensorrt_llm", "pyinfra", "TensorRT-LLM on loopback, in a container"),
    Stage("vllm_rocm", "pyinfra", "vLLM on loopback, in a container for AMD's cards"),
    Stage("vllm_ascend", "pyinfra", "vLLM on loopback, in a container for Huawei's cards"),
    Stage("open_webui", "pyinfra", "the chat page on loopback"),
)


_WHERE_THE_PROFILE_SAYS_SO = (
    "storage",
    "nvidia_driver",
    "cuda_toolkit",
    "amd_rocm",
    "ascend",
    "hygon_dtk",
    "rdma",
    "container_runtime",
)


# What serves clients by itself, and stands on the head of a box alone.
_OF_HEADS = frozenset({"open_webui"})


def stages_for(fleet: Fleet, host: Host, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Those of a run's stages that one of its hosts goes through."""
    return tuple(stage for stage in stages if fleet.leads(host) or stage.name not in _OF_HEADS)


def stages_of(fleet: Fleet, only: tuple[str, ...] = ()) -> tuple[Stage, ...]:
    """The stages of a fleet's hosts; `only` narrows them by name.

    Raises:
        BadInputError: `only` names a stage that there is not.
    """
    profile = fleet.profile
    workload = tuple(stage for stage in WORKLOAD if not fleet.without_stack or stage.name in fleet.rehearsed)
    unused = ENGINES - {service.engine for service in profile.stack.services}
    skipped: set[str] = {*unused}
    skipped |= {"open_webui"} if profile.stack.chat_page == "none" else set()
    skipped |= {name for name in _WHERE_THE_PROFILE_SAYS_SO if getattr(profile, name) is None}
    stages = tuple(stage for stage in (*PLATFORM, *workload) if stage.name not in skipped)
    names = [stage.name for stage in stages]
    for name in only:
        if name not in names:
            raise BadInputError(
                f"no stage '{name}'.{did_you_mean(name, names)}", hint=f"There are: {', '.join(names)}."
            )
    return tuple(stage for stage in stages if not only or stage.name in only)
