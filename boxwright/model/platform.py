"""What a profile says about the machine's operating system: one class per Ansible role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from boxwright.model.base import AbsolutePath, Frozen, Network, Port


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
        "linux-modules-nvidia-",
        "docker-ce",
        "docker.io",
        "containerd",
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
    memlock_unlimited: bool = False  # RDMA and pinned caches lock memory
    hugepages_2mib: Annotated[int, Field(ge=0)] | None = None  # reserved at boot; None: as the system has it
    cpu_governor: Literal["performance", "keep"] = "keep"
    disable_acs: bool = False  # PCIe access control sends traffic between cards through the root port
    arguments: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.]+(=[A-Za-z0-9_.,:-]+)?$")], ...] = ()  # at boot


class StoragePolicy(Frozen):
    """The file systems for models and containers; which disks they are made on is said by the site."""

    file_system: Literal["ext4", "xfs"] = "ext4"


class AddressPool(Frozen):
    """A range that Docker cuts the subnets of its networks from."""

    base: Network
    size: Annotated[int, Field(ge=8, le=30)] = 24  # prefix length of each subnet


class ContainerRuntimePolicy(Frozen):
    """Docker: whose packages, where its data lies, and how it reaches accelerators."""

    source: Literal["docker_ce", "debian"] = "docker_ce"  # Debian 12's own is 20.10, which knows no CDI
    gpu: Literal["none", "nvidia"] = "none"
    data_root: AbsolutePath = "/srv/docker"
    cgroup_driver: Literal["cgroupfs", "systemd"] = "cgroupfs"  # systemd's reload takes cards away from containers
    log_max_mib: Annotated[int, Field(ge=1)] = 50  # of each of `log_files` files, for each container
    log_files: Annotated[int, Field(ge=1, le=100)] = 5
    address_pools: Annotated[tuple[AddressPool, ...], Field(min_length=1)] = (AddressPool(base="172.30.0.0/16"),)
    reachable_ports: tuple[Port, ...] = ()  # published ports that other machines may reach, besides the gateway


class RdmaPolicy(Frozen):
    """RDMA between the nodes of one box."""

    gid_index: Annotated[int, Field(ge=0, le=255)] | None = None  # of RoCE ports; None: the library's choice


class RebootPolicy(Frozen):
    """Whether a run may reboot a machine whose settings ask for it, and how long that may take."""

    when: Literal["needed", "never"] = "needed"
    timeout_s: Annotated[int, Field(ge=60, le=3600)] = 1200  # servers with terabytes of memory test it for minutes


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
    # Of Ollama's own API, below /ollama; None: what neither changes models nor fetches any, and of others nothing.
    ollama_paths: tuple[Annotated[str, Field(pattern=r"^/api/[a-z]+$")], ...] | None = None
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
