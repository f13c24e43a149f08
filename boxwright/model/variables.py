"""What each role and deploy is given: the profile's choices plus what follows from the site, and the secrets.

A field here is the one place where a variable exists. A role knows it as `<role>_<field>`, a deploy as
`host.data.<deploy>_<field>`; a test holds every role's `meta/argument_specs.yml` against these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr

from boxwright.model.base import AbsolutePath, Frozen, HttpUrl, Network, Port
from boxwright.model.catalogue import ModelFile
from boxwright.model.platform import (
    BasePolicy,
    FirewallPolicy,
    GatewayPolicy,
    KernelTuning,
    MonitoringPolicy,
    NvidiaDriverPolicy,
)
from boxwright.model.site import Operator, PackageRepository


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


class KernelVariables(KernelTuning, Variables):
    """Role `kernel`."""

    unit = "kernel"


class NvidiaDriverVariables(NvidiaDriverPolicy, Variables):
    """Role `nvidia_driver`."""

    unit = "nvidia_driver"
    repository: PackageRepository | None  # None: the vendor's own for the distribution
    proxy: HttpUrl | None  # to fetch the key; apt has its own setting


class FirewallService(Frozen):
    """Ports that answer, and to whom."""

    name: str
    ports: tuple[Port, ...]
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


class GatewayVariables(GatewayPolicy, Variables):
    """Role `gateway`."""

    unit = "gateway"
    server_names: tuple[str, ...]  # DNS names and IP addresses that the certificate is valid for
    tls_chain_pem: str | None  # None: the role makes a local authority on the box
    tls_private_key_pem: SecretStr | None
    api_users: tuple[ApiUser, ...]
    engine_url: HttpUrl
    engine_key: SecretStr
    chat_page_url: HttpUrl | None  # None: the gateway serves the API alone


class MonitoringVariables(MonitoringPolicy, Variables):
    """Role `monitoring`."""

    unit = "monitoring"
    engine_name: str
    engine_metrics_url: HttpUrl
    engine_key: SecretStr


class ModelsVariables(Variables):
    """Deploy `models`."""

    unit = "models"
    directory: AbsolutePath
    files: tuple[ModelFile, ...]
    python_index: HttpUrl
    proxy: HttpUrl | None


class LlamaCppVariables(Variables):
    """Deploy `llama_cpp`."""

    unit = "llama_cpp"
    model_path: AbsolutePath
    numa_policy: Literal["default", "bind", "interleave"]
    numa_nodes: tuple[int, ...]
    cores: int | None  # of the nodes that it is bound to; None: all of the machine
    model_alias: str
    context_tokens: int
    parallel_requests: int
    port: Port
    api_key: SecretStr
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    proxy: HttpUrl | None


class OpenWebuiVariables(Variables):
    """Deploy `open_webui`."""

    unit = "open_webui"
    flavour: Literal["slim", "full"]
    port: Port
    engine_url: HttpUrl
    engine_key: SecretStr
    public_url: HttpUrl
    secret_key: SecretStr
    admin_email: str
    admin_password: SecretStr
    python_index: HttpUrl
    debian_mirror: HttpUrl
    debian_check_valid_until: bool
    proxy: HttpUrl | None


ROLE_VARIABLES: tuple[type[Variables], ...] = (
    BaseVariables,
    KernelVariables,
    NvidiaDriverVariables,
    GatewayVariables,
    MonitoringVariables,
    FirewallVariables,
)
DEPLOY_VARIABLES: tuple[type[Variables], ...] = (ModelsVariables, LlamaCppVariables, OpenWebuiVariables)


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
