"""Fills in what a profile leaves to sizing, and refuses what its cards cannot hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from boxwright.errors import BadInputError
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogue import GIB, ModelCatalogue
from boxwright.model.catalogues import load_engine
from boxwright.model.fleet import Fleet, SizedSetting
from boxwright.model.profile import Profile
from boxwright.model.stack import Parallelism, Service
from boxwright.model.stack_check import TABLES
from boxwright.model.weights import Weights, weights_of
from boxwright.serving.llama_cpp import own_settings, placement
from boxwright.sizing.fit import Wish, nearest
from boxwright.sizing.machine import Machine, machine_of, slice_alone
from boxwright.sizing.parallelism import uncounted
from boxwright.sizing.service import Sized, size_service

Place = Callable[[str], str]


def size_stack(
    profile: Profile, models: ModelCatalogue, accelerators: AcceleratorCatalogue, place: Place
) -> tuple[Profile, tuple[SizedSetting, ...]]:
    """The profile with every setting that sizing chooses, and what is to be said of them.

    Args:
        profile: What is wanted.
        models: What models there are. One that is not there is not this function's to tell.
        accelerators: What is known of cards.
        place: `file:line:column` of a key of the stack.

    Raises:
        BadInputError: A model cannot be served on the cards that it is given.
    """
    services: list[Service] = []
    said: list[SizedSetting] = []
    for number, service in enumerate(profile.stack.services):
        sized = size(service, profile, models, accelerators)
        if sized and sized.problem:
            keys = f"further.{number - 1}.model" if number else "model"
            raise _refused(profile, service, sized, models, accelerators, where=place(keys))
        services.append(sized.service if sized else service)
        said.extend(sized.settings if sized else _offloaded(service, profile, models))
    stack = services[0].model_copy(update={"further": tuple(services[1:])})
    return profile.model_copy(update={"stack": stack}), tuple(said)


def _offloaded(service: Service, profile: Profile, models: ModelCatalogue) -> Iterator[SizedSetting]:
    """Where llama.cpp lays a model that need not lie on cards altogether."""
    if service.engine != "llama_cpp" or not profile.cards_of(service):
        return
    memory = tuple(int(gib * GIB) for gib in profile.device_memory_gib(service))
    try:
        weights = weights_of(service, models)
    except ValueError:
        return
    own = own_settings(load_engine("llama_cpp"), service)
    placed = placement(service, weights, memory, own)
    layers = weights.model.architecture.layers
    if placed:
        on_cards = "all layers" if placed.gpu_layers > layers else f"{placed.gpu_layers} of {layers} layers"
        behind = f", the experts of {placed.cpu_moe_layers} in main memory" if placed.cpu_moe_layers else ""
        shares = f"{placed.card_bytes / GIB:.0f} GiB lie on cards and {placed.host_bytes / GIB:.0f} GiB in main memory"
        yield SizedSetting(
            unit=service.unit, setting="offload", value=f"{on_cards}{behind}", fixed=False, reason=shares
        )


def size(
    service: Service, profile: Profile, models: ModelCatalogue, accelerators: AcceleratorCatalogue
) -> Sized | None:
    """A service with what sizing chooses for it; None where nothing is counted."""
    try:
        weights = weights_of(service, models)
    except ValueError:
        return None
    table = load_engine(TABLES[service.engine])
    own = {table.canonical(name): value for name, value in service.engine_settings.items()}
    return size_service(service, weights, machine_for(service, profile, accelerators), own)


def machine_for(service: Service, profile: Profile, accelerators: AcceleratorCatalogue) -> Machine:
    """The box as one of its services has it: with its own cards alone."""
    machine = machine_of(profile.name, profile.hardware, profile.nodes, accelerators)
    if service.mig_slice:
        return slice_alone(machine, service.mig_slice)
    cards = profile.cards_of(service)
    return replace(machine, cards=len(cards), card=machine.card if cards else None)


def parallelism(fleet: Fleet, service: Service) -> Parallelism:
    """How a service's model is spread: as the profile says, or as sizing chooses; without cards, a copy a machine."""
    if service.parallelism:
        return service.parallelism
    if not fleet.profile.cards_of(service):
        return Parallelism(data=fleet.profile.nodes)
    if sized := size(service, fleet.profile, fleet.catalogue, fleet.accelerators):
        return sized.spread
    machine = machine_for(service, fleet.profile, fleet.accelerators)
    return uncounted(weights_of(service, fleet.catalogue).model, machine)


def check_disk(fleet: Fleet) -> None:
    """Refuse models that the disk of the profile does not hold.

    Raises:
        BadInputError: They are larger altogether.
    """
    sizes = {one.name: one.model.weight_bytes(one.build) or 0 for one in fleet.all_weights}
    needed, room = sum(sizes.values()) / GIB, fleet.profile.hardware.disk_gib
    if needed > room:
        raise BadInputError(
            f"{', '.join(sizes)}: {needed:.0f} GiB of weights, and hardware.disk_gib is {room:g}",
            where=f"profile {fleet.profile.name}, stack",
            hint="Take a smaller model, or a larger disk.",
        )


def _refused(
    profile: Profile,
    service: Service,
    sized: Sized,
    models: ModelCatalogue,
    accelerators: AcceleratorCatalogue,
    *,
    where: str,
) -> BadInputError:
    hints = [sized.remedy] if sized.remedy else [_what_fits(service, profile, models, accelerators)]
    hints.append("./invoke fit shows the figures.")
    return BadInputError(sized.problem, where=where, hint=" ".join(filter(None, hints)))


def _what_fits(service: Service, profile: Profile, models: ModelCatalogue, accelerators: AcceleratorCatalogue) -> str:
    wanted: Weights = weights_of(service, models)
    machine, wish = machine_for(service, profile, accelerators), Wish(context_tokens=service.context_tokens)
    found = nearest(models.models, machine, wish, first=wanted.model)
    named = ", ".join(f"{one.model.id} by {one.engine} in {one.quantization}" for one in found)
    return f"What fits: {named}." if named else ""
