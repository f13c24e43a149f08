"""What `fit` does, told to a console."""

from __future__ import annotations

from typing import Any

from boxwright.console import Console
from boxwright.console.fit_view import FitRow, show_card, show_fits
from boxwright.errors import BadInputError, Exit
from boxwright.model.catalogue import GIB, Model
from boxwright.model.catalogues import load_accelerators, load_models
from boxwright.sizing.choice import machine_meant, models_meant
from boxwright.sizing.fit import Fit, Wish, fits
from boxwright.sizing.machine import Machine

_NEAREST = 3


def fit(
    console: Console, *, profile: str, gpu: str, count: int, model: str, context: int, users: int, speed: float
) -> Exit:
    """Say which models fit on a machine, or how one does; exit 2 where what was asked for does not."""
    if context < 1 or users < 0 or speed <= 0:
        raise BadInputError("--context and --speed are above zero, --users is not below it")
    catalogue = load_models()
    machine = machine_meant(profile, gpu, count, load_accelerators())
    wish = Wish(context_tokens=context, speed=speed)
    chosen = models_meant(model, catalogue)
    answers = {one.id: fits(one, machine, wish) for one in chosen}
    title = f"{machine.name}: {_cards(machine)}, {context} tokens of context, at least {speed:g} tokens/s for each"
    if not model:
        show_fits(console, title, [_row(found[0], machine) for found in answers.values() if found])
        _explain(console)
        return Exit.OK
    found = answers[chosen[0].id]
    show_fits(console, title, [_row(one, machine) for one in found])
    good = [one for one in found if one.fits and one.people >= users and (one.requests or not users)]
    if good:
        _show_memory(console, good[0], machine)
        _explain(console)
        console.success(_verdict(good[0], machine))
        return Exit.OK
    console.warning(_refusal(chosen[0], found, machine, users))
    _show_nearest(console, machine, wish, users, catalogue.models)
    return Exit.CHANGES


def _cards(machine: Machine) -> str:
    if machine.card is None:
        return "no cards"
    nodes = f"{machine.nodes} machines of " if machine.nodes > 1 else ""
    return f"{nodes}{machine.cards} x {machine.card.name}"


def _row(one: Fit, machine: Machine) -> FitRow:
    return FitRow(
        model=one.model.id,
        engine=one.engine,
        quantization=one.quantization,
        spread=_spread(one, machine),
        fits=one.fits,
        requests=one.requests,
        people=one.people,
        speed=one.speed_alone,
        reason="; ".join(one.reasons),
        data=as_data(one),
    )


def _spread(one: Fit, machine: Machine) -> str:
    if one.offloaded_layers is not None:
        return f"{one.offloaded_layers} layers on cards"
    if machine.card is None:
        return "processors"
    spread = one.spread
    names = (("tensor", spread.tensor), ("pipeline", spread.pipeline), ("data", spread.data))
    return " x ".join(f"{name} {size}" for name, size in names if size > 1) or "one card"


def as_data(one: Fit) -> dict[str, Any]:
    """One answer for programs. Sizes in GiB and decimal GB as the names say; speeds are predictions."""
    memory = one.memory
    shares = (
        {
            "total": memory.total / GIB,
            "weights": memory.weights / GIB,
            "overhead": memory.overhead / GIB,
            "cache": memory.cache / GIB,
        }
        if memory
        else {}
    )
    return {
        "model": one.model.id,
        "build": one.build.name,
        "engine": one.engine,
        "fits": one.fits,
        "reasons": list(one.reasons),
        "tensor_parallel_size": one.spread.tensor,
        "pipeline_parallel_size": one.spread.pipeline,
        "data_parallel_size": one.spread.data,
        "quantization": one.quantization,
        "context": one.wish.context_tokens,
        "max_concurrent_memory": one.requests_by_memory,
        "max_concurrent_at_speed": one.requests_at_speed,
        "tokens_per_second_per_user": one.speed_alone,
        "users": one.people,
        "memory_per_gpu_gib": {name: round(size, 2) for name, size in shares.items()},
        "offloaded_layers": one.offloaded_layers,
        "disk_gb": round(one.weight_bytes / 1e9, 1),
        "load_seconds": round(one.load_seconds),
    }


def _show_memory(console: Console, one: Fit, machine: Machine) -> None:
    if one.memory is None or machine.card is None:
        return
    memory = one.memory
    used = one.requests * one.wish.context_tokens / one.spread.data * memory.cache_per_token
    cache = min(memory.cache, int(used))
    parts = (
        ("weights", memory.weights),
        ("cache", cache),
        ("overhead", memory.overhead),
        ("free", memory.total - memory.weights - memory.overhead - cache),
    )
    show_card(console, machine.card.name, parts, memory.total)


def _verdict(one: Fit, machine: Machine) -> str:
    speed = f", about {one.speed_alone:.0f} tokens/s for a single one" if one.speed_alone else ""
    return (
        f"{one.model.id} fits by {one.engine} in {one.quantization} ({_spread(one, machine)}): "
        f"{one.requests} requests at once, about {one.people} people{speed}; "
        f"{one.weight_bytes / 1e9:.0f} GB on disk, read in {max(1, round(one.load_seconds))} s."
    )


def _refusal(model: Model, found: list[Fit], machine: Machine, users: int) -> str:
    if not found:
        return f"{model.id}: no engine of {machine.name} reads a build of known size."
    best = found[0]
    if best.fits:
        return f"{model.id} serves about {best.people} people on {machine.name}, and {users} are wanted."
    return f"{model.id} does not fit on {machine.name}: {best.engine} in {best.quantization}: {best.reasons[0]}."


def _show_nearest(console: Console, machine: Machine, wish: Wish, users: int, models: tuple[Model, ...]) -> None:
    """The most capable models that do fit."""
    answers = [found[0] for one in models if one.purpose != "embedding" and (found := fits(one, machine, wish))]
    fitting = [one for one in answers if one.fits and one.people >= users]
    nearest = sorted(fitting, key=lambda one: one.model.parameters, reverse=True)[:_NEAREST]
    if nearest:
        show_fits(console, "What fits", [_row(one, machine) for one in nearest])


def _explain(console: Console) -> None:
    console.info(
        "Speeds are predictions. At once: requests of the whole context that memory holds and that still get the "
        "speed; of ten people, one waits for an answer. docs/sizing.md says how it is counted."
    )
