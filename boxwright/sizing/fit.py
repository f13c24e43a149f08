"""Whether a machine holds a model, on which engine and how spread, for how many requests, and about how fast. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from boxwright.model.catalogue import GIB, Build, Model
from boxwright.model.stack import EngineName, Parallelism
from boxwright.sizing.hybrid import KTRANSFORMERS, LLAMA_CPP, hybrid_seconds
from boxwright.sizing.machine import DISK_BYTES_PER_S, Card, Machine
from boxwright.sizing.memory import CardMemory, card_memory
from boxwright.sizing.offload import offload
from boxwright.sizing.shape import shape_of
from boxwright.sizing.speed import Load, step_seconds

# Of a card's memory, what engines take: vLLM's default, and llama.cpp's whole card but what a driver keeps.
VLLM_UTILISATION = 0.92
_GGUF_UTILISATION = 0.97
_GGUF_BATCH = 512  # tokens that llama-server computes at once: its default of --ubatch-size
# Of main memory, what is left to a model on processors: the system, the page and the gateway have the rest.
_HOST_SHARE = 0.90
_MOST_REQUESTS = 1024  # no engine's default takes more at once
_FP8_CAPABILITY = 8.9  # Ada and later compute in FP8


@dataclass(frozen=True)
class Wish:
    """What is asked of a machine.

    Attributes:
        context_tokens: Of each request.
        speed: Tokens a second that each user is to see at least: a person reads about ten.
        people_per_request: Of people with an account, how many there are for one that waits for an answer just then.
    """

    context_tokens: int = 8192
    speed: float = 10.0
    people_per_request: int = 10


@dataclass(frozen=True)
class Fit:
    """How a model would be served, or why it would not.

    Attributes:
        build: The weights that would be fetched.
        quantization: The precision that they are served in.
        reasons: Why it does not fit, or what limits it.
        requests_by_memory: Requests of the wished context whose caches find room at once.
        requests_at_speed: The most for which each still gets the wished speed; None where no speed is known.
        speed_alone: Tokens a second of a single request; None where no speed is known.
        offloaded_layers: Layers on cards, where not all of the model is there.
    """

    model: Model
    build: Build
    engine: EngineName
    quantization: str
    weight_bytes: int
    fits: bool
    reasons: tuple[str, ...]
    spread: Parallelism
    wish: Wish
    memory: CardMemory | None
    requests_by_memory: int
    requests_at_speed: int | None
    speed_alone: float | None
    offloaded_layers: int | None = None

    @property
    def requests(self) -> int:
        """Requests that are served well at once: what memory holds, and speed allows."""
        at_speed = self.requests_by_memory if self.requests_at_speed is None else self.requests_at_speed
        return min(self.requests_by_memory, at_speed)

    @property
    def people(self) -> int:
        """People that it serves."""
        return self.requests * self.wish.people_per_request

    @property
    def load_seconds(self) -> float:
        """Time to read the weights from a fast disk."""
        return self.weight_bytes / DISK_BYTES_PER_S


def fits(model: Model, machine: Machine, wish: Wish) -> list[Fit]:
    """Every way to serve a model on a machine, the best of each engine and build, best first."""
    found = [one for build in model.builds for one in _of_build(model, build, machine, wish)]
    return sorted(found, key=_rank, reverse=True)


def _rank(one: Fit) -> tuple[object, ...]:
    """What fits goes first; of that what serves somebody at the wished speed; then the more precise weights.

    Of what does not fit, the one that lacks least.
    """
    memory = one.memory
    spare = memory.usable - memory.weights - memory.overhead if memory else 0
    return (one.fits, one.requests >= 1, one.weight_bytes, one.requests, one.speed_alone or 0.0, spare)


def _of_build(model: Model, build: Build, machine: Machine, wish: Wish) -> Iterator[Fit]:
    size = model.weight_bytes(build)
    if size is None or model.purpose == "embedding":
        return
    if build.format == "safetensors":
        yield from _by_vllm(model, build, size, machine, wish)
    else:
        yield _by_llama_cpp(model, build, size, machine, wish)
        card = machine.card
        if model.architecture.experts and card and "ktransformers" in card.engines and "IQ" not in build.quantization:
            yield _by_ktransformers(model, build, size, machine, wish)


def _by_vllm(model: Model, build: Build, size: int, machine: Machine, wish: Wish) -> Iterator[Fit]:
    card = machine.card
    engines: list[EngineName] = ["vllm", "vllm_ascend"]
    engine = next((one for one in engines if card and one in card.engines), None)
    if card is None or engine is None:
        return
    eight_bits = (card.compute_capability or 0) >= _FP8_CAPABILITY
    ways = [(build.quantization, size, build.quantization == "FP8")]
    if build.quantization in ("BF16", "FP16") and eight_bits:
        ways.append(("FP8, made while loading", _in_fp8(model), True))
    for quantization, weight_bytes, in_eight in ways:
        base = _refusal(model, build, engine=engine, quantization=quantization, size=weight_bytes, wish=wish)
        if quantization == "FP8" and card.compute_capability and not eight_bits:
            yield replace(base, reasons=(f"{card.name} does not compute in FP8",))
            continue
        load = Load(wish.context_tokens, weight_bytes, eight_bits=in_eight)
        tried = [_spread(base, spread, machine, card, load) for spread in spreads(model, machine)]
        yield max(tried, key=_rank)


def _in_fp8(model: Model) -> int:
    """Bytes of a model whose layers are made FP8 while loading; the tables of words stay as they are."""
    shape = shape_of(model.architecture)
    return shape.parameters + shape.tables


def spreads(model: Model, machine: Machine) -> list[Parallelism]:
    """Every way to spread a model over all cards: heads divide evenly, and no layer's cards are on two machines."""
    heads, experts = model.architecture.attention.heads, model.architecture.experts is not None
    total = machine.all_cards
    widths = [n for n in range(1, machine.cards + 1) if machine.cards % n == 0 and heads % n == 0]
    found = []
    for tensor in widths:
        rest = total // tensor
        for pipeline in (n for n in range(1, rest + 1) if rest % n == 0 and n <= model.architecture.layers):
            data = rest // pipeline
            if machine.nodes > 1 and data % machine.nodes and pipeline % machine.nodes:
                continue
            found.append(Parallelism(tensor=tensor, pipeline=pipeline, data=data, expert=experts and tensor > 1))
    return found


def _spread(base: Fit, spread: Parallelism, machine: Machine, card: Card, load: Load) -> Fit:
    architecture, wish = base.model.architecture, base.wish
    memory = card_memory(architecture, base.weight_bytes, spread, card.memory_bytes, utilisation=VLLM_UTILISATION)
    return _judged(replace(base, spread=spread, memory=memory), machine, card, load, wish)


def _judged(base: Fit, machine: Machine, card: Card, load: Load, wish: Wish) -> Fit:
    """With everything of the model on cards: how many requests they hold, and how fast they are answered."""
    memory, spread, architecture = base.memory, base.spread, base.model.architecture
    assert memory is not None  # noqa: S101  the caller has computed it
    if not memory.fits:
        lacking = (memory.weights + memory.overhead - memory.usable) / GIB
        return replace(base, reasons=(f"each card lacks {lacking:.1f} GiB for weights and activations",))
    each = memory.tokens // wish.context_tokens
    if each < 1:
        return replace(base, reasons=(f"the cache holds {memory.tokens} tokens, and a request has more",))

    def seconds(requests: int) -> float | None:
        return step_seconds(architecture, spread, card, machine.links, load=load, requests=requests)

    alone = seconds(1)
    at_speed = None if alone is None else _most(lambda n: 1 / (seconds(n) or 1) >= wish.speed) * spread.data
    speed = 1 / alone if alone else None
    by_memory = min(each, _MOST_REQUESTS) * spread.data
    limits = "memory" if at_speed is None or by_memory <= at_speed else "speed"
    return replace(
        base,
        fits=True,
        reasons=(f"{limits} limits it",),
        requests_by_memory=by_memory,
        requests_at_speed=at_speed,
        speed_alone=speed,
    )


def _most(enough: Callable[[int], bool]) -> int:
    """The largest number of requests that is enough, where fewer are enough, too."""
    low, high = 0, _MOST_REQUESTS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if enough(middle) else (low, middle - 1)
    return low


def _by_llama_cpp(model: Model, build: Build, size: int, machine: Machine, wish: Wish) -> Fit:
    engine: EngineName = "ollama" if machine.card and "ollama" in machine.card.engines else "llama_cpp"
    base = _refusal(model, build, engine=engine, quantization=build.quantization, size=size, wish=wish)
    card, architecture = machine.card, model.architecture
    if card:
        spread = Parallelism(pipeline=min(machine.cards, architecture.layers))
        memory = card_memory(
            architecture,
            size,
            spread,
            card.memory_bytes,
            utilisation=_GGUF_UTILISATION,
            batched_tokens=_GGUF_BATCH,
        )
        whole = _judged(
            replace(base, spread=spread, memory=memory), machine, card, Load(wish.context_tokens, size), wish
        )
        if whole.fits:
            return whole
    cards = (card.memory_bytes,) * machine.cards if card else ()
    where = offload(architecture, size, wish.context_tokens, cards)
    base = replace(base, engine="llama_cpp", offloaded_layers=where.gpu_layers if card else None)
    room = machine.host.memory_bytes * _HOST_SHARE
    if where.host_bytes > room:
        lacking = (where.host_bytes - room) / GIB
        return replace(base, reasons=(f"main memory lacks {lacking:.0f} GiB for what cards do not hold",))
    seconds = hybrid_seconds(architecture, size, where, card=card, host=machine.host, engine=LLAMA_CPP)
    return _one_at_a_time(base, seconds, wish)


def _by_ktransformers(model: Model, build: Build, size: int, machine: Machine, wish: Wish) -> Fit:
    """Experts in main memory, everything else on one card."""
    base = _refusal(model, build, engine="ktransformers", quantization=build.quantization, size=size, wish=wish)
    card = machine.card
    assert card is not None  # noqa: S101  the caller has looked
    where = offload(model.architecture, size, wish.context_tokens, (card.memory_bytes,))
    if where.gpu_layers <= model.architecture.layers:
        return replace(base, reasons=(f"{card.name} does not hold what every token needs",))
    where = replace(where, cpu_moe_layers=model.architecture.layers)
    if size > machine.host.memory_bytes * _HOST_SHARE:
        lacking = (size - machine.host.memory_bytes * _HOST_SHARE) / GIB
        return replace(base, reasons=(f"main memory lacks {lacking:.0f} GiB for the experts",))
    seconds = hybrid_seconds(model.architecture, size, where, card=card, host=machine.host, engine=KTRANSFORMERS)
    return _one_at_a_time(replace(base, offloaded_layers=model.architecture.layers), seconds, wish)


def _one_at_a_time(base: Fit, seconds: float | None, wish: Wish) -> Fit:
    """What lies in main memory serves requests one after the other: together, each would get its share of the speed."""
    speed = 1 / seconds if seconds else None
    at_speed = None if speed is None else int(speed >= wish.speed)
    limit = "main memory's bandwidth and the processors limit it"
    return replace(
        base, fits=True, reasons=(limit,), requests_by_memory=1, requests_at_speed=at_speed, speed_alone=speed
    )


def _refusal(model: Model, build: Build, *, engine: EngineName, quantization: str, size: int, wish: Wish) -> Fit:
    """The start of every answer: that it does not fit, which what follows disproves or explains."""
    return Fit(
        model=model,
        build=build,
        engine=engine,
        quantization=quantization,
        weight_bytes=size,
        fits=False,
        reasons=(),
        spread=Parallelism(),
        wish=wish,
        memory=None,
        requests_by_memory=0,
        requests_at_speed=None,
        speed_alone=None,
    )
