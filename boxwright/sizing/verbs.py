"""What `fit` does, told to a console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.console import Console
from boxwright.console.fit_view import FitRow, show_card, show_fits
from boxwright.console.text import counted
from boxwright.errors import BadInputError, Exit
from boxwright.model.catalogue import GIB, Model
from boxwright.model.catalogues import load_accelerators, load_models
from boxwright.sizing.choice import machine_meant, models_meant
from boxwright.sizing.fit import Fit, Wish, fits, nearest
from boxwright.sizing.machine import Machine
from boxwright.sizing.page import Page, spread_words


@dataclass(frozen=True)
class Question:
    """What is asked, by the names of the verb's options.

    Attributes:
        profile: Name or file of a profile.
        gpu: A card as people call it; with `count`, a machine of which nothing else is known.
        count: Cards of that kind.
        box: A file with what `./invoke detect --json` found.
        model: Empty: every one that answers.
        context: Tokens of each request.
        users: People that it shall serve.
        speed: Tokens a second that each request shall get at least.
        people_per_request: People with an account for each that waits for an answer just then.
        html: A file that the answer is written to as well.
    """

    profile: str = ""
    gpu: str = ""
    count: int = 1
    box: str = ""
    model: str = ""
    context: int = 8192
    users: int = 0
    speed: float = 10.0
    people_per_request: int = 10
    html: str = ""


def fit(console: Console, asked: Question) -> Exit:
    """Say which models fit on a machine, or how one does; exit 2 where what was asked for does not."""
    if asked.context < 1 or asked.users < 0 or asked.speed <= 0 or asked.people_per_request < 1:
        raise BadInputError("--context, --speed and --people-per-request are above zero, --users is not below it")
    catalogue = load_models()
    machine = machine_meant(asked.profile, asked.gpu, asked.count, asked.box, load_accelerators())
    wish = Wish(asked.context, asked.speed, asked.people_per_request)
    chosen = models_meant(asked.model, catalogue)
    answers = [found for one in chosen if (found := fits(one, machine, wish))]
    shown = (answers[0] if answers else []) if asked.model else [found[0] for found in answers]
    title = (
        f"{machine.name}: {_cards(machine)}, {asked.context} tokens of context, "
        f"at least {asked.speed:g} tokens/s for each"
    )
    show_fits(console, title, [_row(one, machine) for one in shown])
    if not asked.model:
        _write_page(console, asked, Page(title, tuple(shown), machine, "", _explanation(wish)))
        console.info(_explanation(wish))
        return Exit.OK
    good = [one for one in shown if one.fits and one.people >= asked.users and (one.requests or not asked.users)]
    verdict = _verdict(good[0], machine) if good else _refusal(chosen[0], shown, machine, asked.users)
    near = () if good else tuple(nearest(catalogue.models, machine, wish, users=asked.users))
    _write_page(console, asked, Page(title, tuple(shown), machine, verdict, _explanation(wish), near))
    if good:
        _show_memory(console, good[0], machine)
        console.info(_explanation(wish))
        console.success(verdict)
        return Exit.OK
    console.warning(verdict)
    if near:
        show_fits(console, "What fits", [_row(one, machine) for one in near])
    return Exit.CHANGES


def _write_page(console: Console, asked: Question, page: Page) -> None:
    if not asked.html:
        return
    path = Path(asked.html).expanduser()
    try:
        path.write_text(page.html(), encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"--html: {path}: {error.strerror}") from None
    console.data("page", {"file": str(path)})
    console.info(f"Written: {path}")


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
        spread=spread_words(one, machine),
        fits=one.fits,
        requests=one.requests,
        people=one.people,
        speed=one.speed_alone,
        reason="; ".join(one.reasons),
        data=as_data(one),
    )


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
    if one.memory is not None and machine.card is not None:
        show_card(console, machine.card.name, one.card_parts, one.memory.total)


def _verdict(one: Fit, machine: Machine) -> str:
    speed = f", about {one.speed_alone:.0f} tokens/s for a single one" if one.speed_alone else ""
    return (
        f"{one.model.id} fits by {one.engine} in {one.quantization} ({spread_words(one, machine)}): "
        f"{counted(one.requests, 'request')} at once, about {one.people} people{speed}; "
        f"{one.weight_bytes / 1e9:.0f} GB on disk, read in {max(1, round(one.load_seconds))} s."
    )


def _refusal(model: Model, found: list[Fit], machine: Machine, users: int) -> str:
    if not found:
        return f"{model.id}: no engine of {machine.name} reads a build of known size."
    best = found[0]
    if best.fits:
        return f"{model.id} serves about {best.people} people on {machine.name}, and {users} are wanted."
    return f"{model.id} does not fit on {machine.name}: {best.engine} in {best.quantization}: {best.reasons[0]}."


def _explanation(wish: Wish) -> str:
    return (
        "Speeds are predictions. At once: requests of the whole context that memory holds and that still get the "
        f"speed; of {wish.people_per_request} people, one waits for an answer. docs/sizing.md says how it is counted."
    )
