"""Projects a fleet onto the variables of every role and deploy: a pure function."""

from __future__ import annotations

import base64
import hashlib

from pydantic import SecretStr

from boxwright.model.deploy_variables import ModelsVariables, OpenWebuiVariables
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Mirrors
from boxwright.model.stack import Service
from boxwright.model.variables import (
    ApiUser,
    BaseVariables,
    CaCertificate,
    FirewallService,
    FirewallVariables,
    GatewayService,
    GatewayVariables,
    MonitoredService,
    MonitoringVariables,
    Variables,
)
from boxwright.model.weights import WantedBuild
from boxwright.planning.addresses import (
    between_nodes,
    chat_page_url,
    engine_url,
    head_url,
    public_url,
    server_names,
)
from boxwright.planning.engine_variables import peers, vllm_variables
from boxwright.planning.handover import about_pages
from boxwright.planning.ktransformers_variables import ktransformers_variables
from boxwright.planning.llama_cpp_variables import llama_cpp_variables
from boxwright.planning.machine_variables import machine_variables
from boxwright.planning.ollama_variables import api_paths, ollama_variables
from boxwright.planning.open_webui_variables import open_webui_variables
from boxwright.planning.packages import packages
from boxwright.planning.tensorrt_llm_variables import tensorrt_llm_variables
from boxwright.planning.vllm_container_variables import vllm_container_variables
from boxwright.planning.weights import wanted_builds
from boxwright.vault import HostSecrets

BCRYPT_COST = 8  # nginx hashes on every request, in its worker: about 15 ms


def role_variables(
    fleet: Fleet, host: Host, secrets: HostSecrets, certificates: tuple[CaCertificate, ...], chain: str | None
) -> tuple[Variables, ...]:
    """What the Ansible roles are given for this host."""
    profile, site, leads = fleet.profile, fleet.site, fleet.leads(host)
    return (
        BaseVariables(
            **profile.base.model_dump() | {"packages": packages(fleet)},
            proxy=site.proxy,
            no_proxy=site.no_proxy,
            ca_certificates=certificates,
            ntp_servers=site.ntp_servers,
            operators=site.operators,
            bundle=site.bundle,
            hostname=None if site.keep_hostnames else host.name,
        ),
        *machine_variables(fleet, host),
        FirewallVariables(**profile.firewall.model_dump(), services=_services(fleet, host)),
        GatewayVariables(
            **profile.gateway.model_dump() | {"ollama_paths": api_paths(fleet)},
            server_names=server_names(fleet, host),
            tls_chain_pem=chain,
            tls_private_key_pem=secrets.tls_private_key,
            api_users=(
                ApiUser(
                    name=site.api_user,
                    password_hash=password_hash(secrets.api_password),
                    api_key=secrets.api_key,
                ),
            ),
            engine_url=engine_url(profile.stack),
            # Sent to engines that ignore it, too: another one may stand behind the door before the gateway is told.
            engine_key=secrets.engine_key,
            chat_page_url=chat_page_url(fleet),
            about_pages=about_pages(fleet, host),
            head_url=head_url(fleet, host),
            monitored_by=None if leads else between_nodes(fleet.head_of(host)),
            services=tuple(
                GatewayService(name=one.name, engine_url=engine_url(one), engine_key=secrets.engine_key)
                for one in profile.stack.further
            )
            or None,
        ),
        MonitoringVariables(
            **profile.monitoring.model_dump(),
            engine_name=profile.stack.engine,
            engine_metrics_url=_metrics_url(profile.stack) if leads else None,
            engine_key=secrets.engine_key,
            services=tuple(
                MonitoredService(name=one.name, engine_name=one.engine, metrics_url=metrics)
                for one in profile.stack.further
                if leads and (metrics := _metrics_url(one))
            )
            or None,
            nodes={one.name: between_nodes(one) for one in fleet.box_of(host)[1:]} if leads else {},
            time_server=not site.has_no_time_server,
        ),
    )


def deploy_variables(fleet: Fleet, host: Host, secrets: HostSecrets, mirrors: Mirrors) -> tuple[Variables, ...]:
    """What the pyinfra deploys are given for this host. `mirrors` must be resolved: no field empty."""
    if fleet.without_stack:
        rehearsal = ktransformers_variables(fleet, secrets, mirrors) if fleet.rehearsed else None
        return (rehearsal,) if rehearsal else ()
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    assert mirrors.debian  # noqa: S101  resolved by the caller
    found: tuple[Variables | None, ...] = (
        models_variables(fleet, wanted_builds(fleet), secrets, mirrors),
        llama_cpp_variables(fleet, secrets, mirrors),
        vllm_variables(fleet, host, secrets, mirrors),
        ollama_variables(fleet),
        ktransformers_variables(fleet, secrets, mirrors),
        tensorrt_llm_variables(fleet),
        *vllm_container_variables(fleet, secrets),
        open_webui_variables(fleet, public_url(fleet, host), secrets, mirrors),
    )
    elsewhere = () if fleet.leads(host) else (OpenWebuiVariables,)
    return tuple(one for one in found if one is not None and not isinstance(one, elsewhere))


def _metrics_url(service: Service) -> str | None:
    """Where a service's engine shows its metrics to Prometheus; None where it has none."""
    return f"{engine_url(service)}{service.metrics_path}" if service.metrics_path else None


def models_variables(
    fleet: Fleet, builds: tuple[WantedBuild, ...], secrets: HostSecrets, mirrors: Mirrors
) -> ModelsVariables:
    """What the deploy `models` is given to fetch some builds."""
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    return ModelsVariables(
        builds=builds,
        box_folders=fleet.site.models.box_folders,
        controller_folders=fleet.site.models.controller_folders,
        huggingface=fleet.site.mirrors.huggingface,
        huggingface_token=secrets.huggingface_token,
        modelscope=fleet.site.mirrors.modelscope,
        modelscope_token=secrets.modelscope_token,
        python_index=mirrors.python_index,
        proxy=fleet.site.proxy,
        no_proxy=fleet.site.no_proxy,
    )


def _services(fleet: Fleet, host: Host) -> tuple[FirewallService, ...]:
    networks = fleet.site.networks
    ssh_port = 22 if fleet.site.twin else host.port or fleet.site.ssh.port
    return (
        FirewallService(name="ssh", ports=(ssh_port,), sources=networks.management),
        FirewallService(name="gateway", ports=(80, 443), sources=networks.clients),
        *_between_nodes(fleet, host),
        *_of_the_head(fleet, host),
    )


def _between_nodes(fleet: Fleet, host: Host) -> tuple[FirewallService, ...]:
    """Engines that span nodes open ports as they please; nobody but the nodes of the box reaches them."""
    others = peers(fleet, host)
    if not others or fleet.without_stack:
        return ()
    return (FirewallService(name="other nodes of the box", ports=(), sources=others),)


def _of_the_head(fleet: Fleet, host: Host) -> tuple[FirewallService, ...]:
    """The head of a box asks its other nodes how they fare, through their gateways."""
    if fleet.leads(host):
        return ()
    return (FirewallService(name="head of the box", ports=(80,), sources=(between_nodes(fleet.head_of(host)),)),)


def password_hash(password: SecretStr) -> SecretStr:
    """Hash a password by bcrypt, with a salt that follows from the password.

    The same password must give the same line, or every run would change the password file. A fixed salt per
    password gives nothing away here, as no two boxes share a password that was made for them.
    """
    import bcrypt  # noqa: PLC0415  only runs that write to a box need it

    clear = password.get_secret_value().encode()
    digest = hashlib.sha256(b"boxwright gateway\0" + clear).digest()[:16]
    standard, of_bcrypt = (
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    )
    salt = base64.b64encode(digest).rstrip(b"=").translate(bytes.maketrans(standard, of_bcrypt))
    return SecretStr(bcrypt.hashpw(clear[:72], b"$2b$%02d$" % BCRYPT_COST + salt).decode())
