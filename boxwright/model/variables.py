"""What each role is given: the profile's choices plus what follows from the site, and the secrets.

A field here is the one place where a variable exists. A role knows it as `<role>_<field>`, a deploy as
`host.data.<deploy>_<field>`; a test holds every role's `meta/argument_specs.yml` against these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr

from boxwright.model.base import AbsolutePath, Address, Frozen, HostName, HttpUrl, Identifier, Network, Port
from boxwright.model.drivers import (
    AmdRocmPolicy,
    CudaToolkitPolicy,
    NvidiaDriverPolicy,
)
from boxwright.model.mig import MigCard
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
from boxwright.model.site import AscendArtefact, DiskPath, HygonArtefact, Operator, PackageRepository, ServedBundle


class Variables(Frozen):
    """What one unit of work (a role or a deploy) reads."""

    unit: ClassVar[str]


class CaCertificate(Frozen):
    """An authority that the box trusts besides its distribution's own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]  # file stem under /usr/local/share/ca-certificates
    pem: str


class BaseVariables(BasePolicy, Variables):
    """Role `base`."""

    unit = "base"
    proxy: HttpUrl | None
    no_proxy: tuple[str, ...]
    ca_certificates: tuple[CaCertificate, ...]
    ntp_servers: tuple[str, ...]
    operators: tuple[Operator, ...]
    bundle: ServedBundle | None  # where packages come from instead of the system's own sources
    hostname: HostName | None  # None: the machine keeps the one that it has


class FileSystem(Frozen):
    """A disk of the machine and the folder where its file system is mounted."""

    name: Identifier  # the profile's name of the disk
    device: DiskPath
    mount_point: AbsolutePath


class StorageVariables(StoragePolicy, Variables):
    """Role `storage`."""

    unit = "storage"
    file_systems: tuple[FileSystem, ...]
    erase: tuple[DiskPath, ...]  # disks that may be formatted whatever they hold
    off_system_disk: tuple[AbsolutePath, ...]  # folders that may not lie on the system's disk


class KernelVariables(KernelTuning, Variables):
    """Role `kernel`."""

    unit = "kernel"


class AptRepositoryVariables(Variables):
    """Role `apt_repository`, which the roles of vendors' packages include. It is no stage of its own."""

    unit = "apt_repository"
    name: Identifier  # of its files: boxwright-NAME
    source: PackageRepository
    pins: dict[Identifier, str]  # apt preferences by name of their file, in force before the repository is there
    proxy: HttpUrl | None  # to fetch the key; apt has its own setting


class NvidiaDriverVariables(NvidiaDriverPolicy, Variables):
    """Role `nvidia_driver`."""

    unit = "nvidia_driver"
    mig: tuple[MigCard, ...] = ()  # cards that are cut into slices
    repository: PackageRepository | None  # None: the vendor's own for the distribution
    proxy: HttpUrl | None  # to fetch the key; apt has its own setting


class CudaToolkitVariables(CudaToolkitPolicy, Variables):
    """Role `cuda_toolkit`."""

    unit = "cuda_toolkit"
    repository: PackageRepository | None  # None: the vendor's own for the distribution
    proxy: HttpUrl | None


class AmdRocmVariables(AmdRocmPolicy, Variables):
    """Role `amd_rocm`."""

    unit = "amd_rocm"
    amdgpu_repository: PackageRepository | None  # None: the vendor's own for the distribution
    repository: PackageRepository | None
    proxy: HttpUrl | None


class AscendVariables(Variables):
    """Role `ascend`."""

    unit = "ascend"
    installers: tuple[AscendArtefact, ...]


class HygonDtkVariables(Variables):
    """Role `hygon_dtk`."""

    unit = "hygon_dtk"
    installers: tuple[HygonArtefact, ...]


class RdmaVariables(RdmaPolicy, Variables):
    """Role `rdma`."""

    unit = "rdma"
    compute_network: Network | None  # None: the network that ssh comes in by


class ContainerRuntimeVariables(ContainerRuntimePolicy, Variables):
    """Role `container_runtime`."""

    unit = "container_runtime"
    registry_mirrors: tuple[HttpUrl, ...]
    insecure_registries: tuple[str, ...] = ()  # of plain HTTP, such as a bundle's: HOST[:PORT]
    repository: PackageRepository | None  # Docker's; None: the vendor's own for the distribution
    toolkit_repository: PackageRepository | None  # of the NVIDIA container toolkit
    proxy: HttpUrl | None  # for keys, and for the images that the daemon pulls
    no_proxy: tuple[str, ...]


class RebootVariables(RebootPolicy, Variables):
    """Role `reboot`."""

    unit = "reboot"


class FirewallService(Frozen):
    """Ports that answer, and to whom."""

    name: str
    ports: tuple[Port, ...]  # none: every port of every protocol
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: tuple[Network, ...]


class FirewallVariables(FirewallPolicy, Variables):
    """Role `firewall`."""

    unit = "firewall"
    services: tuple[FirewallService, ...]


class ApiUser(Frozen):
    """Who may use the API: by password (basic auth) or by key (`Authorization: Bearer`)."""

    name: str
    password_hash: SecretStr  # bcrypt, made on the controller
    api_key: SecretStr


class GatewayService(Frozen):
    """A service beside the main one, which users reach under `/services/NAME`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    engine_url: HttpUrl
    engine_key: SecretStr | None  # None: the engine is sent none


class GatewayVariables(GatewayPolicy, Variables):
    """Role `gateway`."""

    unit = "gateway"
    server_names: tuple[str, ...]  # DNS names and IP addresses that the certificate is valid for
    tls_chain_pem: str | None  # None: the role makes a local authority on the box
    tls_private_key_pem: SecretStr | None
    api_users: tuple[ApiUser, ...]
    engine_url: HttpUrl
    engine_key: SecretStr | None  # None: the engine is sent none
    chat_page_url: HttpUrl | None  # None: the gateway serves the API alone
    about_pages: dict[Annotated[str, Field(pattern=r"^[a-z]{2}$")], str] | None  # HTML by language; None: none
    services: tuple[GatewayService, ...] | None  # None: the main one alone
    head_url: HttpUrl | None  # where a node of a box sends clients; None: they are right here
    monitored_by: Address | None  # who may read the node exporter through this gateway; None: nobody


class MonitoredService(Frozen):
    """A service beside the main one, whose engine shows metrics to the same key."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    engine_name: str
    metrics_url: HttpUrl


class MonitoringVariables(MonitoringPolicy, Variables):
    """Role `monitoring`."""

    unit = "monitoring"
    engine_name: str
    engine_metrics_url: HttpUrl | None  # None: it shows none
    engine_key: SecretStr
    services: tuple[MonitoredService, ...] | None  # None: the main one alone
    nodes: dict[HostName, Address] = {}  # of the same box, besides this machine: watched through their gateways
    time_server: bool = True  # without one, no alert says for ever that the clock follows none


class BurnInVariables(Variables):
    """Role `burn_in`, which `burnin` runs before and after its loads. It is no stage of a box."""

    unit = "burn_in"
    state: Literal["present", "absent"] = "present"  # of the programs that load
    cuda: Annotated[str, Field(pattern=r"^1[2-9]\.[0-9]$")] | None = None  # NVIDIA's toolkit there; None: no cards
    diagnostics: bool = False  # whether NVIDIA's own diagnostics look at more than the first level of these cards
    repository: PackageRepository | None = None  # None: the vendor's own for the distribution
    proxy: HttpUrl | None = None  # to fetch the key; apt has its own setting


ROLE_VARIABLES: tuple[type[Variables], ...] = (
    BaseVariables,
    StorageVariables,
    KernelVariables,
    NvidiaDriverVariables,
    CudaToolkitVariables,
    AmdRocmVariables,
    AscendVariables,
    HygonDtkVariables,
    RdmaVariables,
    ContainerRuntimeVariables,
    RebootVariables,
    GatewayVariables,
    MonitoringVariables,
    FirewallVariables,
)
SHARED_ROLE_VARIABLES: tuple[type[Variables], ...] = (AptRepositoryVariables,)  # roles that other roles include
PASSING_ROLE_VARIABLES: tuple[type[Variables], ...] = (BurnInVariables,)  # roles whose work is undone again


def revealed(value: object) -> Any:
    """Turn a variable into plain JSON data with secrets in clear: for an engine's private input alone."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return {name: revealed(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [revealed(item) for item in value]
    return value


def named(variables: Variables) -> dict[str, Any]:
    """The variables under the names that a role or a deploy reads them by."""
    return {f"{variables.unit}_{name}": revealed(getattr(variables, name)) for name in type(variables).model_fields}
