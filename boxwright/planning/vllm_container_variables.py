"""Projects a fleet onto the deploys of vLLM in its vendors' containers. Pure."""

from __future__ import annotations

from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import (
    VllmAscendVariables,
    VllmContainerService,
    VllmContainerVariables,
    VllmRocmVariables,
)
from boxwright.model.fleet import Fleet
from boxwright.model.releases import usual_release
from boxwright.model.stack import EngineName, Service
from boxwright.model.vllm_container import VENDOR_CONTAINERS
from boxwright.model.weights import weights_of
from boxwright.planning.engine_variables import patience_s
from boxwright.planning.numa import judged_at_start
from boxwright.planning.residency import residency_of
from boxwright.planning.sized_stack import parallelism
from boxwright.serving.vllm import as_of, vllm_own_settings, vllm_start_limit
from boxwright.serving.vllm_container import container_settings, container_variables, device_files
from boxwright.vault import HostSecrets

_COMPILES_S = 900  # beyond what weights take: kernels are compiled and tuned when the engine starts. A guess
_DEPLOYS: dict[EngineName, type[VllmContainerVariables]] = {
    "vllm_rocm": VllmRocmVariables,
    "vllm_ascend": VllmAscendVariables,
}


def vllm_container_variables(fleet: Fleet, secrets: HostSecrets) -> tuple[VllmContainerVariables, ...]:
    """What the deploys of vLLM's containers are given; none where no service wants one, or none has an image."""
    found: list[VllmContainerVariables] = []
    for engine, variables in _DEPLOYS.items():
        services = [one for one in fleet.profile.stack.services if one.engine == engine and one.engine_image]
        if services:
            made = tuple(_service(fleet, one) for one in services)
            found.append(variables(services=made, api_key=secrets.engine_key))
    return tuple(found)


def _service(fleet: Fleet, service: Service) -> VllmContainerService:
    profile, weights, table = fleet.profile, weights_of(service, fleet.catalogue), load_engine("vllm")
    container, cards = VENDOR_CONTAINERS[service.engine], profile.cards_of(service)
    version = service.engine_version or usual_release(profile, service.engine, table, fleet.accelerators)
    flags, variables = vllm_own_settings(table, version, service)
    ours = container_settings(service, weights.model, profile.hardware, parallelism(fleet, service))
    image = service.engine_image
    assert image  # noqa: S101  the caller has looked
    patience = _COMPILES_S + patience_s(weights)
    return VllmContainerService(
        unit=service.unit,
        image=fleet.site.image(image) if "@" in image else image,
        entrypoint=container.entrypoint,
        settings=as_of(table, version, ours) | flags,
        environment=container_variables(container, profile.hardware, cards)
        | vllm_start_limit(table, version, patience)
        | variables,
        model_path=weights.folder(profile.stack.models_directory),
        model_place=f"/models/{weights.model.id}",
        model_names=(weights.model.id, *weights.model.aliases),
        purpose=weights.model.purpose,
        residency=residency_of(fleet, service),
        numa_placement=judged_at_start(fleet, service),
        least_tokens_per_s=service.least_tokens_per_s,
        devices=device_files(container, cards),
        groups=container.groups,
        readable=container.readable,
        memory_nodes=service.numa.nodes if service.numa.policy == "bind" else (),
        port=service.engine_port,
        patience_s=patience,
    )
