"""Projects a fleet onto the deploy of Ollama, and onto what roles have to know of it. Pure."""

from __future__ import annotations

from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import OllamaService, OllamaVariables, RegisteredFile
from boxwright.model.fleet import Fleet
from boxwright.model.mig_layout import mig_place
from boxwright.model.stack import Service
from boxwright.model.weights import weights_of
from boxwright.planning.engine_variables import patience_s
from boxwright.planning.numa import judged_at_start
from boxwright.serving.ollama import modelfile, names_of, ollama_environment, placement

# Of Ollama's own API what answers and tells: nothing that makes, fetches, copies or removes a model.
_SAFE_PATHS = ("/api/chat", "/api/embed", "/api/generate", "/api/ps", "/api/show", "/api/tags", "/api/version")
_STORES = ".ollama"  # below the folder of models: on its disk, so that weights are linked there and not copied


def ollama_variables(fleet: Fleet) -> OllamaVariables | None:
    """What the deploy of Ollama is given; None where no service wants it, or where it could not be installed."""
    services = [one for one in fleet.profile.stack.services if one.engine == "ollama"]
    archive = fleet.ollama_archive
    if not services or fleet.foreign_cards or archive is None:
        return None
    return OllamaVariables(
        archive=archive,
        models_directory=fleet.profile.stack.models_directory,
        services=tuple(_service(fleet, one) for one in services),
        proxy=fleet.site.proxy,
        no_proxy=fleet.site.no_proxy,
    )


def _service(fleet: Fleet, service: Service) -> OllamaService:
    profile, weights = fleet.profile, weights_of(service, fleet.catalogue)
    table, release = load_engine("ollama"), fleet.ollama_release
    directory, cards = profile.stack.models_directory, profile.cards_of(service)
    store = f"{directory}/{_STORES}/{service.unit}"
    folder = weights.folder(directory)
    some = len(cards) < profile.hardware.accelerator_count and not service.mig_slice
    visible, patience = cards if some else None, patience_s(weights)
    return OllamaService(
        unit=service.unit,
        environment=ollama_environment(table, release, service, store, visible, patience_s=patience),
        modelfile=modelfile(table, release, service, weights, directory),
        names=names_of(weights.model),
        weights=tuple(
            RegisteredFile(path=f"{folder}/{file.name}", sha256=file.sha256, bytes=file.bytes)
            for file in weights.build.files
            if file.name.endswith(".gguf")
        ),
        store=store,
        purpose=weights.model.purpose,
        placement=placement(service, cards),
        numa_placement=judged_at_start(fleet, service),
        least_tokens_per_s=service.least_tokens_per_s,
        cards=bool(cards),
        mig=mig_place(profile, service),
        numa_policy=service.numa.policy,
        numa_nodes=service.numa.nodes,
        port=service.engine_port,
        patience_s=patience,
    )


def api_paths(fleet: Fleet) -> tuple[str, ...]:
    """What users reach of Ollama's own API; of another engine's, nothing is offered."""
    if fleet.profile.stack.engine != "ollama":
        return ()
    chosen = fleet.profile.gateway.ollama_paths
    return _SAFE_PATHS if chosen is None else chosen
