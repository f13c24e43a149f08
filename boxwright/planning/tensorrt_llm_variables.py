"""Projects a fleet onto the deploy of TensorRT-LLM. Pure."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import TensorrtLlmService, TensorrtLlmVariables
from boxwright.model.fleet import Fleet
from boxwright.model.stack import Service
from boxwright.model.tensorrt_llm import image_of
from boxwright.model.weights import weights_of
from boxwright.planning.engine_variables import patience_s, ways_between_cards
from boxwright.planning.numa import judged_at_start
from boxwright.planning.residency import residency_of
from boxwright.planning.sized_stack import parallelism
from boxwright.serving.tensorrt_llm import command, container_environment, model_place, options

_COMPILES_S = 900  # beyond what weights take: kernels are compiled and tuned when the engine starts


def tensorrt_llm_variables(fleet: Fleet) -> TensorrtLlmVariables | None:
    """What the deploy of TensorRT-LLM is given; None where no service wants it, or where its cards are not NVIDIA's."""
    services = _services(fleet)
    if not services or fleet.foreign_cards:
        return None
    return TensorrtLlmVariables(services=tuple(_service(fleet, one) for one in services))


def check_tensorrt_llm_spread(fleet: Fleet) -> None:
    """Refuse a service whose cards would hold several copies: the server has one.

    Raises:
        BadInputError: It would leave cards without work.
    """
    for service in _services(fleet):
        spread = parallelism(fleet, service)
        if spread.data > 1:
            one = spread.tensor * spread.pipeline
            raise BadInputError(
                f"{weights_of(service, fleet.catalogue).name} fits on {one} of {spread.cards} cards, and trtllm-serve "
                "serves one copy of a model",
                where=f"profile {fleet.profile.name}, stack",
                hint=f"Set stack.accelerators to {one} of them, set stack.parallelism, or take vllm, which has copies.",
            )


def _services(fleet: Fleet) -> list[Service]:
    return [one for one in fleet.profile.stack.services if one.engine == "tensorrt_llm"]


def _service(fleet: Fleet, service: Service) -> TensorrtLlmService:
    profile, weights, table = fleet.profile, weights_of(service, fleet.catalogue), load_engine("tensorrt_llm")
    version = service.engine_version or table.default_version
    image = image_of(service, version)
    assert image  # noqa: S101  the stack was checked
    return TensorrtLlmService(
        unit=service.unit,
        image=fleet.site.image(image) if "@" in image else image,
        command=command(table, version, service, weights, parallelism(fleet, service)),
        environment=container_environment(table, version, service, p2p="none" not in ways_between_cards(fleet)),
        options=options(),
        model_path=weights.folder(profile.stack.models_directory),
        model_place=model_place(weights),
        model_name=weights.model.id,
        purpose=weights.model.purpose,
        residency=residency_of(fleet, service),
        numa_placement=judged_at_start(fleet, service),
        least_tokens_per_s=service.least_tokens_per_s,
        cards=profile.cards_of(service),
        memory_nodes=service.numa.nodes if service.numa.policy == "bind" else (),
        port=service.engine_port,
        patience_s=_COMPILES_S + patience_s(weights),
    )
