"""What deploys are given: one frozen model for each, whose fields are the deploy's variables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from boxwright.model.base import AbsolutePath, Frozen, HttpUrl, Port, Sha256
from boxwright.model.catalogue import Purpose
from boxwright.model.images import PinnedImage
from boxwright.model.llama_cpp import ProgramBuild
from boxwright.model.mig import MigPlace
from boxwright.model.ollama import OllamaArchive
from boxwright.model.residency import CardResidency, MemoryPlacement
from boxwright.model.stack import EngineSetting
from boxwright.model.variables import Variables
from boxwright.model.weights import WantedBuild

# Tokens per second of one answer, below which a start has failed; None: any will do. Embeddings have no such speed.
LeastSpeed = Annotated[float, Field(gt=0)] | None
# What must be seen on cards when a unit has started; None: nothing, or nothing yet.
Residency = CardResidency | None
# Where memory must lie when a unit has started; None: on no certain NUMA nodes.
Placement = MemoryPlacement | None


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
    residency: Residency
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
    cards: bool  # whether it computes on some
    mig: MigPlace | None  # the slice of a card that it computes on; None: whole cards, or none
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
    debian_keyring: AbsolutePath  # on the box
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
    residency: Residency
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
    converted_from: AbsolutePath | None  # a GGUF file that model_path is made of
    mig: MigPlace | None  # the slice of a card that it computes on; None: whole cards, or none
    numa_policy: Literal["default", "bind", "interleave"]
    numa_nodes: tuple[int, ...]
    port: Port
    answers: bool  # whether this node serves clients; others lend it their cards
    node_address: str | None  # its own, between the nodes; None: it serves alone
    head_address: str | None  # of the node that answers
    peers: tuple[str, ...]  # addresses of the other nodes
    lifeline_port: Port | None  # of the head, where the other nodes tell that they are there; None: it serves alone
    box_settings: str | None  # digest of what all nodes are told: only equal ones start together; None: it serves alone
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class RayNode(Frozen):
    """A node of a box whose processes Ray starts."""

    release: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)+$")]
    leads: bool  # it keeps the list of nodes, and has vLLM itself; others have Ray alone
    head_address: str  # of the node that leads
    port: Port  # of the node that leads, where the others join
    address: str  # its own, between the nodes
    peers: tuple[str, ...]  # addresses of the other nodes
    environment: dict[str, str]  # of the processes that Ray starts here


class VllmVariables(Variables):
    """Deploy `vllm`."""

    unit = "vllm"
    flavour: Literal["cuda", "cpu"]
    version: str
    services: tuple[VllmService, ...]  # none: of a node that Ray alone stands on
    models_directory: AbsolutePath
    ray: RayNode | None  # None: vLLM's processes are started by vLLM itself
    api_key: SecretStr
    python_index: HttpUrl
    wheels: tuple[str, ...]  # pages, or folders of the controller, with wheels that the index does not have
    debian_mirror: HttpUrl
    debian_keyring: AbsolutePath  # on the box
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
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
    cards: bool  # whether it has any
    mig: MigPlace | None  # the slice of a card that it computes on; None: whole cards, or none
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
    model_name: str
    purpose: Purpose
    residency: Residency
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
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
    debian_keyring: AbsolutePath  # on the box
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
    model_name: str
    purpose: Purpose
    residency: Residency
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
    cards: tuple[int, ...]  # by their numbers in PCI order, as the driver's list for containers has them
    memory_nodes: tuple[int, ...]  # NUMA nodes that it is bound to; none: all
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class TensorrtLlmVariables(Variables):
    """Deploy `tensorrt_llm`."""

    unit = "tensorrt_llm"
    services: tuple[TensorrtLlmService, ...]


class VllmContainerService(Frozen):
    """One server of vLLM, in a vendor's container."""

    unit: Annotated[str, Field(pattern=r"^vllm-(ascend|rocm)(-[a-z0-9-]+)?$")]  # of systemd, without .service
    image: PinnedImage  # with a name it is pulled; an id alone has been loaded by somebody
    entrypoint: str | None  # in place of the image's own
    settings: dict[str, EngineSetting]  # flags of `vllm serve` without dashes, besides those that are fields here
    environment: dict[str, str]
    model_path: AbsolutePath
    model_place: AbsolutePath  # the same folder in the container
    model_names: tuple[str, ...]
    purpose: Purpose
    residency: Residency
    numa_placement: Placement
    least_tokens_per_s: LeastSpeed
    devices: tuple[AbsolutePath, ...]  # device files
    groups: tuple[str, ...]  # of the box, that own them
    readable: tuple[AbsolutePath, ...]  # of the box, at the same place in the container: the driver's part
    memory_nodes: tuple[int, ...]  # NUMA nodes that it is bound to; none: all
    port: Port
    patience_s: Annotated[int, Field(gt=0)]  # how long a start may take


class VllmContainerVariables(Variables):
    """What the deploys of vLLM's containers share."""

    services: tuple[VllmContainerService, ...]
    api_key: SecretStr


class VllmRocmVariables(VllmContainerVariables):
    """Deploy `vllm_rocm`."""

    unit = "vllm_rocm"


class VllmAscendVariables(VllmContainerVariables):
    """Deploy `vllm_ascend`."""

    unit = "vllm_ascend"


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
    debian_keyring: AbsolutePath  # on the box
    debian_check_valid_until: bool
    proxy: HttpUrl | None


DEPLOY_VARIABLES: tuple[type[Variables], ...] = (
    ModelsVariables,
    LlamaCppVariables,
    VllmVariables,
    OllamaVariables,
    KtransformersVariables,
    TensorrtLlmVariables,
    VllmRocmVariables,
    VllmAscendVariables,
    OpenWebuiVariables,
)
