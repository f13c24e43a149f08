"""Whether a machine holds a model, on which engine and how spread, for how many requests, and about how fast. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from boxwright.model.catalogue import GIB, Build, Model
from boxwright.model.stack import EngineName, Parallelism
from boxwright.sizing.hybrid import KTRANSFORMERS, LLAMA_CPP, hybrid_seconds
from boxwright.sizing.machine import DISK_BYTES_PER_S, Card, Machine
from boxwright.sizing.memory import BATCHED_TOKENS, CardMemory, card_memory
from boxwright.sizing.offload import offload
from boxwright.sizing.parallelism import spreads
from boxwright.sizing.shape import shape_of
from boxwright.sizing.speed import Load, step_seconds

# Of a card's memory, what engines take: vLLM's default, and llama.cpp's whole card but what a driver keeps.
VLLM_UTILISATION = 0.92
_GGUF_UTILISATION = 0.97
_GGUF_BATCH = 512  # tokens that llama-server computes at once: its default of --ubatch-size
# Of main memory, what is left to a model on processors: the system, the page and the gateway have the rest.
_HOST_SHARE = 0.90
_MOST_REQUESTS = 1024  # no engine's default takes more at once
_NEAREST = 3
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
    def card_parts(self) -> tuple[tuple[str, int], ...]:
        """What the fullest card's memory is taken by, in bytes, while all requests that are served well are there."""
        memory = self.memory
        if memory is None:
            return ()
        used = self.requests * self.wish.context_tokens / self.spread.data * memory.cache_per_token
        cache = min(memory.cache, int(used))
        free = memory.total - memory.weights - memory.overhead - cache
        return ("weights", memory.weights), ("cache", cache), ("overhead", memory.overhead), ("free", max(0, free))

    @property
    def load_seconds(self) -> float:
        """Time to read the weights from a fast disk."""
        return self.weight_bytes / DISK_BYTES_PER_S


def fits(model: Model, machine: Machine, wish: Wish) -> list[Fit]:
    """Every way to serve a model on a machine, the best of each engine and build, best first."""
    found = [one for build in model.builds for one in _of_build(model, build, machine, wish)]
    return sorted((_on_disk(one, machine) for one in found), key=_rank, reverse=True)


def _on_disk(one: Fit, machine: Machine) -> Fit:
    """The same, or that the disk does not hold the weights as they are fetched."""
    lacking = (one.model.weight_bytes(one.build) or 0) - machine.host.disk_bytes
    return one if lacking <= 0 else replace(one, fits=False, reasons=(f"the disk lacks {lacking / GIB:.0f} GiB",))


def nearest(
    models: Sequence[Model], machine: Machine, wish: Wish, *, users: int = 0, first: Model | None = None
) -> list[Fit]:
    """What does fit, where something does not: the most capable models, each by its best way.

    Args:
        models: Those that may be named.
        machine: Where.
        wish: What is asked of it.
        users: People whom it is to serve at least.
        first: The model that was wanted; its other builds and engines go first.
    """
    chat = [one for one in models if one.purpose != "embedding"]
    answers = [found[0] for one in chat if (found := fits(one, machine, wish))]
    fitting = [one for one in answers if one.fits and one.people >= users]
    wanted = first.id if first else ""
    return sorted(fitting, key=lambda one: (one.model.id == wanted, one.model.parameters), reverse=True)[:_NEAREST]


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
    engines: list[EngineName] = ["vllm", "vllm_ascend", "vllm_rocm"]
    engine = next((one for one in engines if card and one in card.engines), None)
    if card is None or engine is None:
        return
    eight_bits = (card.compute_capability or 0) >= _FP8_CAPABILITY
    ways = [(build.quantization, size, build.quantization == "FP8")]
    if build.quantization in ("BF16", "FP16") and eight_bits:
        ways.append(("FP8, made while loading", in_fp8(model), True))
    for quantization, weight_bytes, in_eight in ways:
        base = unproven(model, build, engine=engine, quantization=quantization, size=weight_bytes, wish=wish)
        if quantization == "FP8" and card.compute_capability and not eight_bits:
            yield replace(base, reasons=(f"{card.name} does not compute in FP8",))
            continue
        load = Load(wish.context_tokens, weight_bytes, eight_bits=in_eight)
        yield best_spread(base, spreads(model.architecture, machine), machine, load)


def in_fp8(model: Model) -> int:
    """Bytes of a model whose layers are made FP8 while loading; the tables of words stay as they are."""
    shape = shape_of(model.architecture)
    return shape.parameters + shape.tables


def best_spread(
    base: Fit,
    ways: Sequence[Parallelism],
    machine: Machine,
    load: Load,
    *,
    utilisation: float = VLLM_UTILISATION,
    batched_tokens: int = BATCHED_TOKENS,
) -> Fit:
    """The best of several ways to spread a model that lies on cards altogether.

    Args:
        base: What is served.
        ways: How it may be spread.
        machine: Where; it has cards.
        load: What they are asked to do.
        utilisation: Of a card's memory, what the engine may take.
        batched_tokens: Tokens that it computes at once at most.
    """
    card, architecture = machine.card, base.model.architecture
    assert card is not None  # noqa: S101  the caller has looked

    def counted(spread: Parallelism) -> Fit:
        memory = card_memory(
            architecture,
            base.weight_bytes,
            spread,
            card.memory_bytes,
            utilisation=utilisation,
            cache_number_bytes=load.cache_number_bytes,
            batched_tokens=batched_tokens,
        )
        return _judged(replace(base, spread=spread, memory=memory), machine, card, load, base.wish)

    return max((counted(spread) for spread in ways), key=_rank)


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
    base = unproven(model, build, engine=engine, quantization=build.quantization, size=size, wish=wish)
    card, architecture = machine.card, model.architecture
    if card:
        whole = on_cards_by_llama_cpp(base, machine)
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


def on_cards_by_llama_cpp(base: Fit, machine: Machine, cache_number_bytes: float = 2.0) -> Fit:
    """With all layers on cards, one group of them after the other: llama.cpp and Ollama."""
    way = Parallelism(pipeline=min(machine.cards, base.model.architecture.layers))
    load = Load(base.wish.context_tokens, base.weight_bytes, cache_number_bytes=cache_number_bytes)
    return best_spread(base, [way], machine, load, utilisation=_GGUF_UTILISATION, batched_tokens=_GGUF_BATCH)


def _by_ktransformers(model: Model, build: Build, size: int, machine: Machine, wish: Wish) -> Fit:
    """Experts in main memory, everything else on one card."""
    base = unproven(model, build, engine="ktransformers", quantization=build.quantization, size=size, wish=wish)
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


def unproven(model: Model, build: Build, *, engine: EngineName, quantization: str, size: int, wish: Wish) -> Fit:
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
