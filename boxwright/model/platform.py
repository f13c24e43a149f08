"""What a profile says about the machine's operating system: one class per Ansible role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from boxwright.model.base import Frozen


class BasePolicy(Frozen):
    """Packages, time, logs and upgrades of the operating system."""

    timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]+$")] = "Etc/UTC"
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")], ...] = ()
    journald_max_mib: Annotated[int, Field(ge=64)] = 1024
    unattended_upgrades: Literal["security", "off"] = "security"
    upgrade_blocklist: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.+*^$-]+$")], ...] = (
        "nvidia-",
        "libnvidia-",
        "cuda-",
        "libcuda",
        "linux-image-",
    )


class KernelTuning(Frozen):
    """Kernel settings for serving models. Sysctl names are those of `sysctl -a`."""

    sysctls: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$")], int] = {
        "kernel.numa_balancing": 0,
        "net.core.somaxconn": 4096,
        "vm.max_map_count": 1048576,
        "vm.swappiness": 10,
        "vm.zone_reclaim_mode": 0,
    }
    nofile_limit: Annotated[int, Field(ge=1024)] = 1048576
    transparent_hugepage: Literal["always", "madvise", "never"] = "madvise"


class NvidiaDriverPolicy(Frozen):
    """The NVIDIA driver without a display: which branch, and which of its two kernel modules."""

    branch: Annotated[int, Field(ge=535, le=999)] = 580  # a long-term branch, and the last one for Volta
    flavour: Literal["open", "closed"] = "open"
    fabric_manager: bool = False  # machines with NVSwitch bridges cannot compute without it
    disable_hmm: bool = False  # where CUDA fails to start though nvidia-smi works: CUDA 13.2's known issues


class FirewallPolicy(Frozen):
    """How rules come into force; who may reach what is said by the site's networks."""

    revert_after_s: Annotated[int, Field(ge=10, le=600)] = 60
    log_drops: bool = False


class GatewayPolicy(Frozen):
    """The one door for people and programs: nginx with TLS."""

    api_paths: tuple[Annotated[str, Field(pattern=r"^/v1/[a-z0-9/_-]+$")], ...] = (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/models",
    )
    api_requests_per_minute: Annotated[int, Field(ge=1)] = 120
    api_concurrent_requests: Annotated[int, Field(ge=1)] = 8
    read_timeout_s: Annotated[int, Field(ge=60)] = 3600
    max_body_mib: Annotated[int, Field(ge=1)] = 100


class MonitoringPolicy(Frozen):
    """Prometheus and the node exporter on the box itself, both bound to loopback."""

    scrape_interval_s: Annotated[int, Field(ge=5, le=300)] = 15
    retention_days: Annotated[int, Field(ge=1)] = 30
    disk_free_alert_percent: Annotated[int, Field(ge=1, le=50)] = 10

    @field_validator("scrape_interval_s")
    @classmethod
    def _divides_a_minute(cls, seconds: int) -> int:
        if seconds < 60 and 60 % seconds:
            raise ValueError("must divide 60, so that every alert window holds whole scrapes")
        return seconds
