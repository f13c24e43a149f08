"""A site: whose boxes these are. Addresses, ways in, proxies, mirrors, and secrets by reference only."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from boxwright.model.base import (
    AbsolutePath,
    Address,
    Frozen,
    HostName,
    HttpUrl,
    Identifier,
    Network,
    Port,
    Sha256,
    wrong_at,
)
from boxwright.model.catalogue import HubName
from boxwright.model.contract import Waiver
from boxwright.model.debian_packages import BUNDLE_KEY, BUNDLE_KEYRING, DEBIAN_KEYRING
from boxwright.model.drivers import AscendPart, HygonPart
from boxwright.model.images import ImagePlace, PinnedImage, Registry, rewritten
from boxwright.model.ollama import OllamaArtefact
from boxwright.model.versions import ReleaseName

Distribution = Literal["debian-12", "debian-13"]
TwinKind = Literal["container", "vm"]
RepositoryName = Literal["nvidia", "nvidia_container_toolkit", "docker", "amdgpu", "rocm"]  # of apt repositories
VENDORS: tuple[RepositoryName, ...] = get_args(RepositoryName)
CODENAMES: dict[Distribution, str] = {"debian-12": "bookworm", "debian-13": "trixie"}


def _disk_path(text: str) -> str:
    if not re.fullmatch(r"/dev/(disk/by-(id|path|uuid|partuuid)|mapper|md)/[A-Za-z0-9._:+-]+", text):
        raise ValueError("a disk is named by a path that is stable across boots, such as /dev/disk/by-id/…")
    return text


def _serial_number(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9 ._/:+-]{0,62}[A-Za-z0-9])?", text):
        raise ValueError(
            "a serial number is 1 to 64 letters, digits, spaces and . _ / : + -, and begins and ends with a letter or "
            "a digit"
        )
    return text


# Stable across boots: the kernel hands out sda and nvme0n1 anew at each.
DiskPath = Annotated[str, AfterValidator(_disk_path)]
TokenReference = Annotated[str, Field(pattern=r"^(env:[A-Z][A-Z0-9_]*|file:[^\s]+)$")]  # no vault makes one
Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]  # of a key, as `ssh-keygen -l` writes it
SecretReference = Annotated[str, Field(pattern=r"^(vault|env:[A-Z][A-Z0-9_]*|file:[^\s]+)$")]

# As a label has it: nothing that a page, a path or a shell could read as more than a number.
SerialNumber = Annotated[str, AfterValidator(_serial_number)]


class Ssh(Frozen):
    """How the controller enters the hosts of a site."""

    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "root"
    port: Port = 22
    key: str | None = None  # path of a private key; without one, ssh's own defaults and agent
    known_hosts: str | None = None  # path of the pinned host keys; None: what ./invoke enroll pinned, else ssh's own
    connect_timeout_s: Annotated[int, Field(ge=1, le=120)] = 10


class Host(Frozen):
    """One machine. `address` may stay away only where the site's hosts are twins."""

    name: HostName
    address: Address | None = None
    port: Port | None = None  # overrides the site's
    serial: SerialNumber | None = None  # on its label: a machine whose firmware says another one is refused
    server_name: Address | None = None  # DNS name of its gateway; overrides the site's
    compute_address: Address | None = None  # where the other nodes of its box reach it; None: at `address`
    disks: dict[Identifier, DiskPath] = {}  # by the profile's name of the disk: the one of this machine
    erase_disks: tuple[DiskPath, ...] = ()  # whatever they hold may be destroyed

    @model_validator(mode="after")
    def _what_is_erased_is_used(self) -> Host:
        strangers = sorted(set(self.erase_disks) - set(self.disks.values()))
        if strangers:
            raise ValueError(f"erase_disks names {', '.join(strangers)}, which is not among the host's disks")
        return self


class Operator(Frozen):
    """A person with an account on every box."""

    name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
    ssh_public_keys: Annotated[tuple[str, ...], Field(min_length=1)]


class TwinSettings(Frozen):
    """Marks a site whose hosts are throw-away twins on the controller itself."""

    distribution: Distribution = "debian-12"
    kind: TwinKind = "container"  # a VM has a kernel of its own, and takes minutes where a container takes seconds


class Mirrors(Frozen):
    """Where packages and models come from. Debian's and Python's are the controller's own if they are left out."""

    debian: HttpUrl | None = None
    debian_security: HttpUrl | None = None
    python_index: HttpUrl | None = None
    wheels: tuple[str, ...] | None = None  # pages, or folders here, with wheels that the index does not have
    huggingface: HttpUrl = "https://huggingface.co"
    modelscope: HttpUrl = "https://modelscope.cn"
    ollama: HttpUrl = "https://registry.ollama.ai"  # a registry of models by digest
    ollama_releases: HttpUrl = "https://github.com/ollama/ollama/releases/download"  # archives of Ollama itself
    github: HttpUrl = "https://github.com"  # archives of source code: of the programs that load cards in a burn-in
    check_valid_until: bool | None = None  # refuse Debian lists that are out of date; false for a frozen mirror
    builds: str | None = None  # a folder here, where programs that were built for boxes are kept; None: in our cache


class PackageRepository(Frozen):
    """An apt repository besides the distribution's, and the one key that it may be signed with."""

    uri: Annotated[str, Field(pattern=r"^(https?|file)://[^\s'\"`$\\<>]+$")]
    suite: Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")] = "./"  # ends in / where the repository is flat
    components: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], ...] = ()
    key_url: Annotated[str, Field(pattern=r"^(https?|file)://[^\s'\"`$\\<>]+$")]
    key_fingerprint: Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]


class ServedBundle(Frozen):
    """A bundle that a controller serves: where boxes take every package, wheel and model from, and nothing else."""

    url: HttpUrl  # of one of its locks
    suite: Identifier  # of the packages that the box itself installs
    key: Annotated[str, Field(pattern=r"^-----BEGIN PGP PUBLIC KEY BLOCK-----")]  # of its lists of Debian packages
    key_fingerprint: Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")] | None = None  # with vendors
    vendors: tuple[RepositoryName, ...] = ()  # whose packages it has: each in a suite of that name
    registries: tuple[Registry, ...] = ()  # whose container images it has

    @model_validator(mode="after")
    def _vendors_are_signed_for(self) -> ServedBundle:
        if self.vendors and self.key_fingerprint is None:
            raise ValueError("vendors, and no key_fingerprint: `bundle.serve` prints both")
        return self

    @property
    def registry(self) -> str:
        """Its address as names of images begin with it. It speaks plain HTTP: digests decide what is taken."""
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def registry_rewrites(self) -> dict[str, str]:
        """Where boxes find the images of registries instead."""
        place = self.url.partition("://")[2]
        return {name: f"{place}/{name.replace(':', '-')}" for name in self.registries}

    @property
    def repositories(self) -> dict[str, PackageRepository]:
        """What boxes are told in the place of vendors' own repositories."""
        apt = f"{self.url}/apt"
        return {
            name: PackageRepository(
                uri=apt,
                suite=name,
                components=("main",),
                key_url=f"{apt}/{BUNDLE_KEY}",
                key_fingerprint=self.key_fingerprint or "",
            )
            for name in self.vendors
        }

    def file(self, sha256: str) -> str:
        """Where it has the file with this digest."""
        return f"{self.url}/files/{sha256}"


class ModelSources(Frozen):
    """Where weights are looked for, besides the packages and addresses that the catalogue names."""

    box_folders: tuple[AbsolutePath, ...] = ()  # on the box, such as a disk that somebody plugged in: looked in first
    controller_folders: tuple[str, ...] = ()  # on the controller, such as a bundle's; sent over ssh
    hubs: tuple[HubName, ...] = ("huggingface", "modelscope", "ollama")  # the preferred one first
    catalogues: tuple[str, ...] = ()  # files of the site's own models, and of digests that it has pinned


class Repositories(Frozen):
    """Vendors' repositories: a company's own copies instead of the vendors' servers."""

    nvidia: PackageRepository | None = None  # driver and CUDA
    nvidia_container_toolkit: PackageRepository | None = None
    docker: PackageRepository | None = None
    amdgpu: PackageRepository | None = None
    rocm: PackageRepository | None = None


class Artefact(Frozen):
    """A file that the customer got from a vendor. It lies on the controller."""

    path: Annotated[str, Field(pattern=r"^[~/][^\s'\"`$\\]*$")]  # absolute, or in a home directory
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]  # as it names itself when installed
    sha256: Sha256


class AscendArtefact(Artefact):
    """One of Huawei's installers."""

    part: AscendPart


class HygonArtefact(Artefact):
    """One of Hygon's installers."""

    part: HygonPart


class FirmwareArtefact(Artefact):
    """Firmware of a part of the machine. Boxwright carries it to where the box is, and writes it into nothing."""

    part: Literal["bios", "bmc", "nic", "vbios", "disk", "switch", "other"]
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]  # whose: of a board, a card, a model


class LlamaCppArtefact(Artefact):
    """Source code of llama.cpp: a tar archive with one folder at its top. Its version is the number of the build."""

    version: Annotated[str, Field(pattern=r"^b[0-9]+$")]


class EngineImage(Frozen):
    """A container image of an engine, and which release it holds."""

    engine: Literal["tensorrt_llm", "vllm_ascend", "vllm_rocm"]
    version: ReleaseName  # of TensorRT-LLM, or of vLLM: its settings are held against it
    image: PinnedImage


class Artefacts(Frozen):
    """Vendors' installers that no repository has, and archives and images of engines that a site has at hand."""

    ascend: tuple[AscendArtefact, ...] = ()
    hygon_dtk: tuple[HygonArtefact, ...] = ()
    firmware: tuple[FirmwareArtefact, ...] = ()
    llama_cpp: LlamaCppArtefact | None = None  # None: the source that Boxwright pins
    ollama: tuple[OllamaArtefact, ...] = ()
    images: tuple[EngineImage, ...] = ()  # of engines in containers

    @model_validator(mode="after")
    def _each_part_comes_once(self) -> Artefacts:
        for vendor in ("ascend", "hygon_dtk"):
            parts = [one.part for one in getattr(self, vendor)]
            twice = sorted({part for part in parts if parts.count(part) > 1})
            if twice:
                raise ValueError(f"{vendor}: two files for {', '.join(twice)}")
        carried = [(one.part, one.device, one.version) for one in self.firmware]
        if len(set(carried)) != len(carried):
            raise ValueError("firmware: two files of one part, device and version")
        versions = [one.version for one in self.ollama]
        if len(set(versions)) != len(versions):
            raise ValueError("ollama: two archives of one version")
        held = [(one.engine, one.version) for one in self.images]
        if len(set(held)) != len(held):
            raise ValueError("images: two of one engine and version")
        return self


class Networks(Frozen):
    """Who may reach a box, by source address, and by which network its nodes reach each other."""

    management: Annotated[tuple[Network, ...], Field(min_length=1)] = ("0.0.0.0/0", "::/0")
    clients: Annotated[tuple[Network, ...], Field(min_length=1)] = ("0.0.0.0/0", "::/0")
    uplink_mbit_s: Annotated[int, Field(ge=1)] | None = None  # of the line to the hubs that all machines share
    between_mbit_s: Annotated[int, Field(ge=1)] | None = None  # what one machine of a batch sends to another
    compute: Network | None = None  # between the nodes of one box; None: the network that ssh comes in by


class Secrets(Frozen):
    """Where a secret comes from: `vault` makes and keeps it, `env:NAME` and `file:PATH` read it."""

    api_password: SecretReference = "vault"  # noqa: S105  a reference, not a password
    api_key: SecretReference = "vault"
    engine_key: SecretReference = "vault"
    webui_admin_password: SecretReference = "vault"  # noqa: S105  a reference, not a password
    webui_secret_key: SecretReference = "vault"  # noqa: S105  a reference, not a password
    huggingface_token: TokenReference | None = None  # None: only what the hub gives to everybody
    modelscope_token: TokenReference | None = None


class Certificate(Frozen):
    """A certificate of the customer's own for the gateway; the paths are on the controller."""

    chain: str
    private_key: SecretReference


class Site(Frozen):
    """Everything that differs between two owners of the same kind of box."""

    name: Identifier
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    keep_hostnames: bool = False  # true: the machines are called what they are called, and not by `hosts`
    hosts_file: str | None = None  # a table or YAML beside the site's file, where `hosts` were read from
    twin: TwinSettings | None = None
    ssh: Ssh = Ssh()
    networks: Networks = Networks()
    proxy: HttpUrl | None = None
    no_proxy: tuple[str, ...] = ()
    mirrors: Mirrors = Mirrors()
    bundle: ServedBundle | None = None  # `bundle.serve` prints it; `provision --bundle` sets it by itself
    models: ModelSources = ModelSources()
    repositories: Repositories = Repositories()
    artefacts: Artefacts = Artefacts()
    registry_mirrors: tuple[HttpUrl, ...] = ()  # for images of Docker Hub; Docker has no such setting for others
    registry_rewrites: dict[Registry, ImagePlace] = {}  # by registry: where its images are pulled from instead
    ca_certificates: tuple[str, ...] = ()  # PEM files on the controller
    ntp_servers: tuple[Address, ...] = ()
    without_time_server: bool = False  # nothing sets the clocks: each is held against the controller's instead
    operators: tuple[Operator, ...] = ()
    admin_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] = "admin@boxwright.internal"
    api_user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] = "api"
    server_name: Address | None = None  # DNS name of the gateway; without one, the host's address
    certificate: Certificate | None = None
    secrets: Secrets = Secrets()
    evidence_signers: tuple[Fingerprint, ...] = ()  # keys of other controllers that may sign what is on a box
    waivers: tuple[Waiver, ...] = ()

    def image(self, name: str) -> str:
        """The name under which this site's boxes pull a container image.

        Raises:
            ValueError: It is not the name of an image.
        """
        return rewritten(name, self.registry_rewrites)

    def behind_its_bundle(self) -> Site:
        """The same site, where everything comes from its bundle; without one, the site itself."""
        if self.bundle is None:
            return self
        own = {
            "debian": f"{self.bundle.url}/apt",
            "debian_security": f"{self.bundle.url}/apt",
            "python_index": f"{self.bundle.url}/simple",
            "wheels": (),
            "check_valid_until": False,  # its lists are signed, and are not dated
        }
        return self.model_copy(
            update={
                "proxy": None,
                "no_proxy": (),
                "mirrors": self.mirrors.model_copy(update=own),
                "repositories": self.repositories.model_copy(update=self.bundle.repositories),
                "registry_mirrors": (),
                "registry_rewrites": self.bundle.registry_rewrites,
            }
        )

    @property
    def has_no_time_server(self) -> bool:
        """Whether a clock has nothing to follow here: VM twins have clocks of their own, and their lab no way out."""
        return self.without_time_server or (self.twin is not None and self.twin.kind == "vm" and not self.ntp_servers)

    @property
    def debian_keyring(self) -> AbsolutePath:
        """The file on a box with the keys that lists of Debian packages are signed by."""
        return BUNDLE_KEYRING if self.bundle else DEBIAN_KEYRING

    @model_validator(mode="after")
    def _hosts_are_distinct(self) -> Site:
        for field in ("name", "address", "serial"):
            seen: dict[tuple[str, int], Host] = {}
            for number, host in enumerate(self.hosts):
                if not (value := getattr(host, field)):
                    continue
                port = (host.port or self.ssh.port) if field == "address" else 0  # of sshd: each is a host of its own
                if (other := seen.setdefault((value, port), host)) is not host:
                    who = "two hosts" if field == "name" else f"{other.name} and {host.name}"
                    which = f"{value}, port {port}" if port else value
                    raise wrong_at(("hosts", number, field), f"{who} share the {field} {which}")
        return self

    @model_validator(mode="after")
    def _time_servers_are_there_or_not(self) -> Site:
        if self.without_time_server and self.ntp_servers:
            raise ValueError(
                f"ntp_servers names {self.ntp_servers[0]}, and without_time_server says that there is none"
            )
        return self

    @model_validator(mode="after")
    def _waivers_are_for_hosts_of_the_site(self) -> Site:
        names = {host.name for host in self.hosts}
        strangers = sorted({name for waiver in self.waivers for name in waiver.hosts} - names)
        if strangers:
            raise ValueError(f"a waiver is for {', '.join(strangers)}, and the site has no such host")
        return self

    @model_validator(mode="after")
    def _no_operator_is_the_login(self) -> Site:
        # The role writes an operator's authorized_keys as a whole, which would end the controller's own way in.
        if any(operator.name == self.ssh.user for operator in self.operators):
            raise ValueError(f"operator '{self.ssh.user}' is the account that Boxwright itself enters by (ssh.user)")
        return self

    @model_validator(mode="after")
    def _hosts_can_be_reached(self) -> Site:
        if self.twin is None:
            missing = {number: host.name for number, host in enumerate(self.hosts) if host.address is None}
            if missing:
                text = f"no address for {', '.join(missing.values())}, and the site has no twin section"
                raise wrong_at(("hosts", next(iter(missing))), text)
        return self
