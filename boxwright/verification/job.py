"""What the acceptance suite is told: where the hosts are, what they promised, and their secrets."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator

from boxwright.errors import BadInputError
from boxwright.model.base import AbsolutePath, Address, Frozen, HostName, HttpUrl, Port, Sha256
from boxwright.model.drivers import NvidiaDriverPolicy
from boxwright.model.hardware import Accelerator
from boxwright.model.platform import ContainerRuntimePolicy, RdmaPolicy, StoragePolicy
from boxwright.model.profile import Profile
from boxwright.model.residency import CardResidency, MemoryPlacement
from boxwright.model.stack import Service
from boxwright.model.variables import revealed
from boxwright.vault import HostSecrets
from boxwright.verification.pins import preferences

Waiver = Annotated[str, Field(pattern=r"^[^:\s][^:]*: \S.*$")]  # "name: reason"


class VerifyService(Frozen):
    """A service beside the main one.

    Attributes:
        name: As the profile calls it; the gateway has it under `/services/NAME`.
        engine_url: Its engine on the box's own loopback.
        model_alias: The model as the engine lists it.
        purpose: What the model is for.
        keyed: Whether the engine asks for a key; one that knows none is kept from people's accounts.
        measured: Whether the engine itself shows metrics.
    """

    name: str
    engine_url: HttpUrl
    model_alias: str
    purpose: Literal["chat", "completion", "embedding"]
    keyed: bool
    measured: bool


class VerifyFile(Frozen):
    """A file of a model on the box, with the size and the digest that it was published with."""

    path: AbsolutePath
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class VerifyHost(Frozen):
    """One provisioned host: how to reach it and what it promised.

    Attributes:
        api_url: Base of the API at the gateway, `https://10.83.0.2/v1`.
        chat_url: The chat page at the gateway; None where the profile has no chat page.
        engine_url: The engine on the box's own loopback, `http://127.0.0.1:8080`.
        ca_pem: The authority that the gateway's certificate comes from; None means the box's own authority,
            which is then fetched over ssh.
        open_ports: TCP ports that may answer other machines; None means ssh and the gateway.
        about: Languages of the page about the box, which the gateway shows to API users.
        head_url: Where the gateway sends clients, of a node that another one of its box leads; None of one that leads.
        nodes: The other nodes of the box that it leads.
        further: What is served beside the main service.
        weights: The files of everything that is served.
        residencies: What of each service's model has to be seen on cards; Ollama's is asked of itself.
        placements: On which NUMA nodes each service has its memory; none where nothing serves.
        twin: Whether the host is a throw-away twin.
        shares_kernel: Whether it is a twin that runs the controller's kernel: a container.
        without_time_server: Whether nothing where it stands could set its clock.
        hostname: What the machine has to be called; None where the site keeps the names that its machines have.
        without_stack: Why nothing serves on the box, so that nothing of it can be proven; empty where it serves.
        profile: The contract that the host was provisioned with.
        waivers: Accepted failures: the id of a check, and `name: reason` of who accepts it.
    """

    name: HostName
    address: Address
    port: Port = 22
    user: str = "root"
    key: Path | None = None
    known_hosts: Path | None = None
    become: bool = False
    api_url: HttpUrl
    api_user: str
    chat_url: HttpUrl | None
    admin_email: str
    engine_url: HttpUrl
    model_alias: str
    ca_pem: str | None = None
    open_ports: tuple[Port, ...] | None = None
    about: tuple[str, ...] = ()
    further: tuple[VerifyService, ...] = ()
    weights: tuple[VerifyFile, ...] = ()
    residencies: tuple[CardResidency, ...] = ()
    placements: tuple[MemoryPlacement, ...] = ()
    head_url: HttpUrl | None = None
    nodes: tuple[HostName, ...] = ()
    twin: bool = False
    shares_kernel: bool = False
    without_time_server: bool = False
    hostname: HostName | None = None
    without_stack: str = ""
    profile: Profile
    waivers: dict[str, Waiver] = Field(default_factory=dict)
    secrets: HostSecrets

    @property
    def leads(self) -> bool:
        """Whether clients speak to this host: it is a box by itself, or the head of one."""
        return self.head_url is None

    @property
    def time_server(self) -> bool:
        """Whether its clock has something to follow."""
        return not self.without_time_server

    @property
    def allowed_ports(self) -> tuple[int, ...]:
        """The TCP ports that may answer another machine."""
        return self.open_ports if self.open_ports is not None else (self.port, 80, 443)

    @property
    def accelerators(self) -> tuple[Accelerator, ...] | None:
        """The accelerator cards that the profile promises; None without any."""
        return self.profile.hardware.accelerators or None

    @property
    def nvidia_driver(self) -> NvidiaDriverPolicy | None:
        """The driver that the profile promises."""
        return self.profile.nvidia_driver

    @property
    def pins(self) -> tuple[str, ...]:
        """Files of apt's preferences that pin what the profile wants of vendors' repositories."""
        return preferences(self.profile)

    @property
    def storage(self) -> StoragePolicy | None:
        """Whether models and containers have disks of their own."""
        return self.profile.storage

    @property
    def rdma(self) -> RdmaPolicy | None:
        """Whether nodes reach each other by RDMA."""
        return self.profile.rdma

    @property
    def container_runtime(self) -> ContainerRuntimePolicy | None:
        """The Docker that the profile promises."""
        return self.profile.container_runtime

    @property
    def main_unit(self) -> str:
        """The unit whose processes hold the main service's model here: its own, or Ray's where that starts them."""
        by_ray = self.profile.stack.executor == "ray" and not self.leads
        return "ray.service" if by_ray else f"{self.profile.stack.unit}.service"

    @property
    def node_units(self) -> tuple[str, ...]:
        """The units whose processes speak to each other over the nodes of the box; none where it is one machine."""
        if self.profile.nodes == 1:
            return ()
        return (*(f"{service.unit}.service" for service in self.profile.stack.services), "ray.service")

    @property
    def ollama(self) -> tuple[Service, ...]:
        """The services that Ollama gives; none where another engine does, or where nothing serves."""
        services = self.profile.stack.services if self.leads and not self.without_stack else ()
        return tuple(service for service in services if service.engine == "ollama")

    @property
    def ktransformers(self) -> tuple[Service, ...] | None:
        """The services that KTransformers gives, or would give on a machine with true cards; None without any."""
        return tuple(one for one in self.profile.stack.services if one.engine == "ktransformers") or None

    @property
    def gateway_name(self) -> str:
        """What people type to reach the gateway, and what its certificate must be valid for."""
        name = urlsplit(self.api_url).hostname
        assert name is not None  # noqa: S101  HttpUrl has a host
        return name

    def known_secrets(self) -> dict[str, tuple[str, ...]]:
        """Each secret by name, in every form it may show in: plain, escaped for a URL or JSON, a login."""
        forms: dict[str, tuple[str, ...]] = {}
        for name in HostSecrets.model_fields:
            secret: SecretStr | None = getattr(self.secrets, name)
            if secret is None:
                continue
            value = secret.get_secret_value()
            spellings = [value, quote(value, safe=""), json.dumps(value)[1:-1]]
            if name == "api_password":
                spellings.append(base64.b64encode(f"{self.api_user}:{value}".encode()).decode())
            forms[name] = tuple(dict.fromkeys(spellings))
        return forms


class VerifyJob(Frozen):
    """What one run of the acceptance suite looks at.

    Attributes:
        hosts: The hosts; each is checked by a process of its own.
        run_logs: The directory of the controller's run logs, in which no secret may be found.
        signers: Fingerprints of the keys that evidence may be signed by; empty where none is known here.
        report: Where the checks are written as JSON when all is done.
        deep: Whether every file of a model is hashed, however long that takes.
        check_timeout_s: How long one check may take before it counts as failed.
    """

    hosts: Annotated[tuple[VerifyHost, ...], Field(min_length=1)]
    run_logs: Path
    signers: tuple[str, ...] = ()
    report: Path | None = None
    deep: bool = False
    check_timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 120

    @model_validator(mode="after")
    def _names_are_distinct(self) -> VerifyJob:
        names = [host.name for host in self.hosts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two hosts are named {', '.join(twice)}")
        return self

    def for_host(self, host: VerifyHost) -> VerifyJob:
        """The same job for one host, so that its process never learns the secrets of the others."""
        return self.model_copy(update={"hosts": (host,)})

    def to_json(self) -> str:
        """The job as JSON with its secrets in clear: for a pipe or a 0600 file, and nothing else."""
        return json.dumps(revealed(self), default=str)


def load_job(path: Path) -> VerifyJob:
    """Read a job that `VerifyJob.to_json` wrote.

    Raises:
        BadInputError: The file is missing, is open to other users, or is not a job.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise BadInputError(
                    "the job holds secrets and others may read it",
                    where=str(path),
                    hint=f"chmod 600 {path}",
                )
            text = stream.read()
        return VerifyJob.model_validate_json(text)
    except OSError as error:
        raise BadInputError(f"cannot read the job: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        # The input of a failing field may be a secret: name the fields, never the values.
        fields = ", ".join(".".join(map(str, item["loc"])) + f" ({item['msg']})" for item in error.errors())
        raise BadInputError(f"not a verification job: {fields}", where=str(path)) from None
