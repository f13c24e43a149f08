"""Projects a fleet onto the deploys of its engines. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import RayNode, VllmService, VllmVariables
from boxwright.model.fleet import Fleet
from boxwright.model.mig_layout import mig_place
from boxwright.model.node_ports import node_ports
from boxwright.model.releases import kinds_of_cards, usual_release
from boxwright.model.site import Host, Mirrors
from boxwright.model.stack import EngineSetting, Service
from boxwright.model.stack_check import BFLOAT16
from boxwright.model.versions import release_key
from boxwright.model.weights import Weights, weights_of
from boxwright.planning.addresses import between_nodes
from boxwright.planning.numa import judged_at_start
from boxwright.planning.residency import residency_of
from boxwright.planning.sized_stack import parallelism
from boxwright.serving.vllm import (
    Node,
    as_of,
    vllm_environment,
    vllm_own_settings,
    vllm_settings,
    vllm_start_limit,
)
from boxwright.vault import HostSecrets

# How long a start may take: this much, and the weights at the speed of a slow NVMe disk.
_START_S = 300
_SLOWEST_READ_BYTES_PER_S = 500_000_000


def vllm_variables(fleet: Fleet, host: Host, secrets: HostSecrets, mirrors: Mirrors) -> VllmVariables | None:
    """What the deploy of vLLM is given for this host; None where no service wants it."""
    services = [one for one in fleet.profile.stack.services if one.engine == "vllm"]
    if not services or fleet.foreign_cards:
        return None
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    assert mirrors.debian  # noqa: S101  resolved by the caller
    return VllmVariables(
        flavour=_flavour(fleet),
        version=vllm_version(fleet, services[0]),
        services=tuple(_vllm_service(fleet, host, one) for one in services if _stands_on(fleet, host, one)),
        models_directory=fleet.profile.stack.models_directory,
        ray=_ray_node(fleet, host, services[0]) if services[0].executor == "ray" else None,
        api_key=secrets.engine_key,
        python_index=mirrors.python_index,
        wheels=mirrors.wheels or (),
        debian_mirror=mirrors.debian,
        debian_keyring=fleet.site.debian_keyring,
        debian_check_valid_until=mirrors.check_valid_until is not False,
        proxy=fleet.site.proxy,
    )


def _stands_on(fleet: Fleet, host: Host, service: Service) -> bool:
    """Whether a node has a unit of vLLM; where Ray starts its processes, the head alone does."""
    return service.executor == "mp" or fleet.leads(host)


def _ray_node(fleet: Fleet, host: Host, service: Service) -> RayNode:
    node = node_of(fleet, host)
    p2p = "none" not in ways_between_cards(fleet)
    return RayNode(
        release=RAY_RELEASE,
        leads=node.answers,
        head_address=node.head_address,
        port=RAY_PORT,
        address=node.address,
        peers=peers(fleet, host),
        environment=vllm_environment("ray", fleet.profile.hardware, fleet.profile.cards_of(service), node, p2p=p2p),
    )


def _flavour(fleet: Fleet) -> Literal["cuda", "cpu"]:
    return "cuda" if fleet.profile.hardware.accelerators else "cpu"


def vllm_version(fleet: Fleet, service: Service) -> str:
    """The release of vLLM that serves."""
    table = load_engine("vllm")
    if _flavour(fleet) == "cpu":
        return service.engine_version or table.cpu_version or table.default_version
    return service.engine_version or usual_release(fleet.profile, "vllm", table, fleet.accelerators)


RAY_RELEASE = "2.60.0"
RAY_PORT = 6379  # Ray's own choice


def _vllm_service(fleet: Fleet, host: Host, service: Service) -> VllmService:
    made = _of_node(fleet, host, service)
    if made.lifeline_port is None:
        return made
    head = made if made.answers else _of_node(fleet, fleet.box_of(host)[0], service)
    return made.model_copy(update={"box_settings": _digest(vllm_version(fleet, service), head)})


def _digest(version: str, head: VllmService) -> str:
    """Of all that the nodes of a box have to agree about; other ranks and addresses follow from the head's."""
    alike = head.model_dump(mode="json", include={"settings", "environment", "model_path", "model_names"})
    return hashlib.sha256(json.dumps([version, alike], sort_keys=True).encode()).hexdigest()[:16]


def _of_node(fleet: Fleet, host: Host, service: Service) -> VllmService:
    """What one node is told, but for what it has to agree about with the others."""
    profile, weights = fleet.profile, weights_of(service, fleet.catalogue)
    node = node_of(fleet, host)
    directory = profile.stack.models_directory
    table, version = load_engine("vllm"), vllm_version(fleet, service)
    flags, variables = vllm_own_settings(table, version, service)
    number = [one.unit for one in profile.stack.services if one.engine == "vllm"].index(service.unit)
    ours = vllm_settings(service, weights.model, profile.hardware, parallelism(fleet, service), node, number=number)
    gguf = weights.path(directory) if weights.build.format == "gguf" else None
    return VllmService(
        unit=service.unit,
        settings=_precision(fleet, service) | as_of(table, version, ours) | flags,
        environment=vllm_environment(
            service.unit,
            profile.hardware,
            None if service.mig_slice else profile.cards_of(service),
            node,
            p2p="none" not in ways_between_cards(fleet),
        )
        | vllm_start_limit(table, version, patience_s(weights))
        | variables,
        model_path=f"{weights.folder(directory)}-bf16" if gguf else weights.path(directory),
        model_names=(weights.model.id, *weights.model.aliases),
        purpose=weights.model.purpose,
        # A node that lends its cards goes with its head, which has to serve by all of them: verify looks at it.
        residency=residency_of(fleet, service) if node.answers else None,
        numa_placement=judged_at_start(fleet, service) if node.answers else None,
        least_tokens_per_s=service.least_tokens_per_s,
        converted_from=gguf,
        mig=mig_place(profile, service),
        numa_policy=service.numa.policy,
        numa_nodes=service.numa.nodes,
        port=service.engine_port,
        answers=node.answers,
        node_address=node.address if node.count > 1 else None,
        head_address=node.head_address if node.count > 1 else None,
        peers=peers(fleet, host),
        lifeline_port=node_ports(number).lifeline if node.count > 1 and service.executor == "mp" else None,
        box_settings=None,
        patience_s=patience_s(weights),
    )


def _precision(fleet: Fleet, service: Service) -> dict[str, EngineSetting]:
    """Most weights are published in bfloat16, which older cards do not compute with; float16 is near to it."""
    known = kinds_of_cards(fleet.profile, [service], fleet.accelerators)
    has = [one.architecture.compute_capability for one in known if one.architecture]
    old = any(one and release_key(one) < release_key(BFLOAT16) for one in has)
    return {"dtype": "half"} if old else {}


def node_of(fleet: Fleet, host: Host) -> Node:
    """Which of the machines of its box a host is."""
    box = fleet.box_of(host)
    return Node(
        rank=[one.name for one in box].index(host.name),
        count=len(box),
        head_address=between_nodes(box[0]),
        address=between_nodes(host),
    )


def patience_s(weights: Weights) -> int:
    """How long a start may take, in seconds: larger weights are longer on their way from the disk."""
    return _START_S + (weights.model.weight_bytes(weights.build) or 0) // _SLOWEST_READ_BYTES_PER_S


def peers(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Addresses of the other nodes of a host's box."""
    others = [one for one in fleet.box_of(host) if one.name != host.name]
    return tuple(between_nodes(one) for one in others)


def ways_between_cards(fleet: Fleet) -> set[str | None]:
    """How cards of the machine reach their likes; None where nobody says so of a kind."""
    ways: set[str | None] = set()
    for group in fleet.profile.hardware.accelerators:
        known = fleet.accelerators.find(group.pci_id)
        fabric = known[0].fabric_of(known[1]) if known else None
        ways.add(fabric.p2p if fabric else None)
    return ways
