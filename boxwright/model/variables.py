"""What each role and deploy is given: the profile's choices plus what follows from the site, and the secrets.

A field here is the one place where a variable exists. A role knows it as `<role>_<field>`, a deploy as
`host.data.<deploy>_<field>`; a test holds every role's `meta/argument_specs.yml` against these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr

from boxwright.model.base import AbsolutePath, Address, Frozen, HostName, HttpUrl, Identifier, Network, Port, Sha256
from boxwright.model.catalogue import Purpose
from boxwright.model.drivers import (
    AmdRocmPolicy,
    CudaToolkitPolicy,
    NvidiaDriverPolicy,
)
from boxwright.model.images import PinnedImage
from boxwright.model.llama_cpp import ProgramBuild
from boxwright.model.ollama import OllamaArchive
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
from boxwright.model.site import AscendArtefact, DiskPath, HygonArtefact, Operator, PackageRepository
from boxwright.model.stack import EngineSetting
from boxwright.model.weights import WantedBuild


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
    engine_key: SecretStr | None  # None: the engine asks for none, and is sent none


class GatewayVariables(GatewayPolicy, Variables):
    """Role `gateway`."""

    unit = "gateway"
    server_names: tuple[str, ...]  # DNS names and IP addresses that the certificate is valid for
    tls_chain_pem: str | None  # None: the role makes a local authority on the box
    tls_private_key_pem: SecretStr | None
    api_users: tuple[ApiUser, ...]
    engine_url: HttpUrl
    engine_key: SecretStr | None  # None: the engine asks for none, and is sent none
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


class ModelsVariables(Variables):
    """Deploy `models`."""

    unit = "models"
    builds: tuple[WantedBuild, ...]
    box_folders: tuple[AbsolutePath, ...]  # on the box: looked in first
    controller_folders: tuple[str, ...]  # on the controller: sent from there
    huggingface: HttpUrl
    huggingface_token: SecretStr | None
    modelscope: HttpUrl
    modelscope_token: SecretStr | None
    python_index: HttpUrl
    proxy: HttpUrl | None
    no_proxy: tuple[str, ...]


class LlamaCppService(Frozen):
    """One instance of llama.cpp's server."""

    unit: Annotated[str, Field(pattern=r"^llama-server(-[a-z0-9-]+)?$")]  # of systemd, without .service
    arguments: tuple[str, ...]  # words of the command line, besides those that are fields here
    environment: dict[str, str]
    model_path: AbsolutePath  # of several shards the first
    model_name: str
    purpose: Purpose
    cards: bool  # whether it computes on some
    cores: Annotated[int, Field(ge=1)]  # physical ones that it may use
    numa_policy: Literal["default", "bind", "interleave"]
    numa_nodes: tuple[int, ...]
    placed_anew: tuple[AbsolutePath, ...]  # files of weights that are to lie where its threads read them first
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class LlamaCppVariables(Variables):
    """Deploy `llama_cpp`."""

    unit = "llama_cpp"
    build: ProgramBuild | None  # None: Debian's packages
    builds: str  # folder of the controller, where programs that were built are kept
    services: tuple[LlamaCppService, ...]
    api_key: SecretStr
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    python_index: HttpUrl  # with the source, where Boxwright pins it
    proxy: HttpUrl | None
    no_proxy: tuple[str, ...]


class VllmService(Frozen):
    """One instance of vLLM on a node."""

    unit: Annotated[str, Field(pattern=r"^vllm(-[a-z0-9-]+)?$")]  # of systemd, without .service
    settings: dict[str, EngineSetting]  # flags of `vllm serve` without dashes, besides those that are fields here
    environment: dict[str, str]
    model_path: AbsolutePath
    model_names: tuple[str, ...]
    purpose: Purpose
    converted_from: AbsolutePath | None  # a GGUF file that model_path is made of
    numa_policy: Literal["default", "bind", "interleave"]
    numa_nodes: tuple[int, ...]
    port: Port
    answers: bool  # whether this node serves clients; others lend it their cards
    peers: tuple[str, ...]  # addresses of the other nodes
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class VllmVariables(Variables):
    """Deploy `vllm`."""

    unit = "vllm"
    flavour: Literal["cuda", "cpu"]
    version: str
    services: tuple[VllmService, ...]
    api_key: SecretStr
    python_index: HttpUrl
    wheels: tuple[str, ...]  # pages, or folders of the controller, with wheels that the index does not have
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    proxy: HttpUrl | None


class RegisteredFile(Frozen):
    """A verified file of weights that Ollama is given."""

    path: AbsolutePath
    sha256: Sha256
    bytes: int


class OllamaService(Frozen):
    """One instance of Ollama, with one model."""

    unit: Annotated[str, Field(pattern=r"^ollama(-[a-z0-9-]+)?$")]  # of systemd, without .service
    environment: dict[str, str]
    modelfile: str
    names: tuple[str, ...]  # of the model, its own first
    weights: tuple[RegisteredFile, ...]
    store: AbsolutePath  # the folder of Ollama's own form of the model, on the disk of the weights
    purpose: Purpose
    placement: Literal["cards", "memory", "both"]  # where the model has to lie
    least_tokens_per_s: float | None
    cards: bool  # whether it has any
    numa_policy: Literal["default", "bind", "interleave"]
    numa_nodes: tuple[int, ...]
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long it may take until the model is loaded


class OllamaVariables(Variables):
    """Deploy `ollama`."""

    unit = "ollama"
    archive: OllamaArchive
    models_directory: AbsolutePath
    services: tuple[OllamaService, ...]
    proxy: HttpUrl | None
    no_proxy: tuple[str, ...]


class KtransformersService(Frozen):
    """One server of KTransformers."""

    unit: Annotated[str, Field(pattern=r"^ktransformers(-[a-z0-9-]+)?$")]  # of systemd, without .service
    arguments: tuple[str, ...]  # words of sglang.launch_server; the key is none of them
    environment: dict[str, str]
    method: str  # of computing experts
    model_path: AbsolutePath  # what cards are given
    experts_path: AbsolutePath  # what processors are given
    converted: bool  # whether experts_path is made of model_path, by hand and once
    threads: Annotated[int, Field(ge=1)]
    pools: Annotated[int, Field(ge=1)]  # of threads: NUMA nodes
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class KtransformersVariables(Variables):
    """Deploy `ktransformers`."""

    unit = "ktransformers"
    flavour: Literal["cuda", "cpu"]  # cpu: kernels of the processor alone, to be examined; nothing serves
    version: str
    methods: tuple[str, ...]  # of computing experts, which the processor is examined for
    kernels: str | None  # which of kt-kernel's extensions to load; None: the fastest that the processor has
    memory_bytes: Annotated[int, Field(ge=0)]  # that the models take of the machine's
    services: tuple[KtransformersService, ...]
    api_key: SecretStr
    python_index: HttpUrl
    wheels: tuple[str, ...]  # pages, or folders of the controller, with wheels that the index does not have
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    proxy: HttpUrl | None


class TensorrtLlmService(Frozen):
    """One server of TensorRT-LLM, in a container."""

    unit: Annotated[str, Field(pattern=r"^tensorrt-llm(-[a-z0-9-]+)?$")]  # of systemd, without .service
    image: PinnedImage  # with a name it is pulled; an id alone has been loaded by somebody
    command: tuple[str, ...]  # words that the container runs
    environment: dict[str, str]
    options: dict[str, bool | int | float | str]  # what has no flag
    model_path: AbsolutePath
    model_place: AbsolutePath  # the same folder in the container
    cards: tuple[int, ...]  # by their numbers in PCI order, as the driver's list for containers has them
    memory_nodes: tuple[int, ...]  # NUMA nodes that it is bound to; none: all
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class TensorrtLlmVariables(Variables):
    """Deploy `tensorrt_llm`."""

    unit = "tensorrt_llm"
    services: tuple[TensorrtLlmService, ...]


class OpenWebuiConnection(Frozen):
    """An engine that people chat with."""

    url: HttpUrl  # with /v1
    api_key: Annotated[SecretStr, Field(min_length=1)] | None  # None: it asks for none


class OpenWebuiVariables(Variables):
    """Deploy `open_webui`."""

    unit = "open_webui"
    flavour: Literal["slim", "full"]
    version: str
    port: Port
    connections: Annotated[tuple[OpenWebuiConnection, ...], Field(min_length=1)]
    embedding_key: SecretStr | None  # to the engine that turns documents into vectors
    settings: dict[str, str]  # variables of Open WebUI, before those that the deploy closes it by
    public_url: HttpUrl
    secret_key: SecretStr
    admin_email: str
    admin_password: SecretStr
    engine_units: tuple[str, ...]  # of systemd, without .service: the page starts after them
    backups: Annotated[int, Field(ge=1)]  # of the database, that are kept
    python_index: HttpUrl
    wheels: tuple[str, ...]  # pages, or folders of the controller, with wheels that the index does not have
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    proxy: HttpUrl | None


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
DEPLOY_VARIABLES: tuple[type[Variables], ...] = (
    ModelsVariables,
    LlamaCppVariables,
    VllmVariables,
    OllamaVariables,
    KtransformersVariables,
    TensorrtLlmVariables,
    OpenWebuiVariables,
)


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
