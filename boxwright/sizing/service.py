"""What a service is told where its profile leaves it open, and whether its cards hold what the profile fixes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from boxwright.model.catalogue import GIB
from boxwright.model.fleet import SizedSetting
from boxwright.model.setting import Value
from boxwright.model.stack import EngineName, Parallelism, Service
from boxwright.model.weights import Weights
from boxwright.sizing.fit import (
    VLLM_UTILISATION,
    Fit,
    Wish,
    best_spread,
    in_fp8,
    on_cards_by_llama_cpp,
    unproven,
)
from boxwright.sizing.machine import Machine
from boxwright.sizing.memory import BATCHED_TOKENS, card_memory
from boxwright.sizing.offload import CACHE_BYTES
from boxwright.sizing.parallelism import spreads
from boxwright.sizing.shape import shape_of
from boxwright.sizing.speed import Load

# Engines that keep all of a model on cards. llama.cpp and KTransformers, which need not, count for themselves.
_ON_CARDS: frozenset[EngineName] = frozenset({"ollama", "tensorrt_llm", "vllm", "vllm_ascend", "vllm_rocm"})
# Counting is no more exact than this share of a card: what lacks less is tried, and not refused.
_MARGIN = 0.05
# Of contexts, where the profile leaves it open: the longest of which several find room.
_LONGEST_CONTEXT, _SHORTEST_CONTEXT, _SEVERAL = 32768, 4096, 4
# Ollama sets the caches of all requests aside when it starts, and what a few percent lack goes to main memory.
_SET_ASIDE = 0.9
_MOST_AT_ONCE = 256  # beyond that, a person had better say it
# Settings that put a part of a model elsewhere, or make its weights other than they are counted here.
_NOT_COUNTED = {"--cpu-offload-gb", "--quantization", "--load-format", "--num-gpu-blocks-override", "LLAMA_ARG_CPU_MOE"}
_NOT_COUNTED |= {"LLAMA_ARG_N_CPU_MOE", "LLAMA_ARG_OVERRIDE_TENSOR", "LLAMA_ARG_N_GPU_LAYERS"}


@dataclass(frozen=True)
class Sized:
    """A service as sizing leaves it.

    Attributes:
        service: With everything that its profile leaves open.
        spread: How its model lies on its cards.
        settings: What was chosen, or is said of what the profile fixes.
        problem: Why it cannot run so; empty where it can.
        remedy: What to do about that.
    """

    service: Service
    spread: Parallelism
    settings: tuple[SizedSetting, ...]
    problem: str = ""
    remedy: str = ""


def size_service(service: Service, weights: Weights, machine: Machine, own: Mapping[str, Value]) -> Sized | None:
    """Fill in what a profile leaves open of a service, and hold what it fixes against its cards.

    Args:
        service: As the profile has it.
        weights: What it serves.
        machine: Its cards, and what is around them.
        own: Settings of the profile, by the engine's spelling.

    Returns:
        None where nothing is counted here: without cards, by an engine that counts for itself, of weights of unknown
        size, or with settings that make all figures others.
    """
    case = _case_of_any(service, weights, machine, own)
    if case is None:
        return None
    if weights.model.purpose == "embedding":
        return case.of_vectors()
    context = case.context()
    fit = case.fit(context)
    problem, remedy = case.refusal(fit)
    at_once = service.parallel_requests
    if service.leaves_open("parallel_requests"):
        at_once = max(1, min(_MOST_AT_ONCE, int(case.most(fit))))
    told = {"context_tokens": context, "parallel_requests": at_once, "parallelism": fit.spread}
    if service.engine == "ollama":  # it deals layers out to cards by itself
        told.pop("parallelism")
    sized = service.model_copy(update=told)
    return Sized(sized, fit.spread, tuple(case.settings(sized, fit)), problem, remedy)


def case_of(service: Service, weights: Weights, machine: Machine, own: Mapping[str, Value]) -> Case | None:
    """A service whose model lies on cards altogether, and keeps a cache there; None where nothing is counted here."""
    return None if weights.model.purpose == "embedding" else _case_of_any(service, weights, machine, own)


def _case_of_any(service: Service, weights: Weights, machine: Machine, own: Mapping[str, Value]) -> Case | None:
    size = _loaded_bytes(service, weights, own)
    if machine.card is None or service.engine not in _ON_CARDS or size is None:
        return None
    if own.keys() & _NOT_COUNTED - ({"--quantization"} if own.get("--quantization") == "fp8" else set()):
        return None
    return Case(service, weights, machine, own, size)


def _loaded_bytes(service: Service, weights: Weights, own: Mapping[str, Value]) -> int | None:
    """Bytes of the weights as the cards get them."""
    if weights.build.format == "gguf" and service.engine != "ollama":
        return 2 * shape_of(weights.model.architecture).parameters  # unpacked to 16 bits before they are loaded
    if own.get("--quantization") == "fp8" and weights.build.quantization in ("BF16", "FP16"):
        return in_fp8(weights.model)
    return weights.model.weight_bytes(weights.build)


@dataclass(frozen=True)
class Case:
    """A service on its cards.

    Attributes:
        service: As the profile has it.
        weights: What it serves.
        machine: Its cards, and what is around them.
        own: Settings of the profile, by the engine's spelling.
        size: Bytes of the weights as the cards get them.
    """

    service: Service
    weights: Weights
    machine: Machine
    own: Mapping[str, Value]
    size: int

    def of_vectors(self) -> Sized:
        """Of a model that makes vectors, and keeps no cache: whether a copy of it lies on its cards."""
        service, model, card = self.service, self.weights.model, self.machine.card
        assert card is not None  # noqa: S101  the caller has looked
        # Weights in 32 bits are loaded in 16, where the engine thinks that good enough.
        size, room = min(self.size, 2 * model.parameters), int(card.memory_bytes * (1 + _MARGIN))
        # As many copies as there is room for: they share nothing.
        copies = sorted(spreads(model.architecture, self.machine), key=lambda one: (one.tensor, one.pipeline))
        counted = [
            (way, card_memory(model.architecture, size, way, room, utilisation=self._utilisation()))
            for way in ([service.parallelism] if service.parallelism else copies)
        ]
        spread, memory = next((one for one in counted if one[1].fits), counted[-1])
        told = {}
        if service.leaves_open("context_tokens"):  # more than it was made for, no engine lets it read
            told["context_tokens"] = min(service.context_tokens, model.context_length)
        sized = Sized(service.model_copy(update=told), spread, ())
        if memory.fits:
            return sized
        takes = f"{(memory.weights + memory.overhead) / GIB:.1f} GiB of each, and {memory.usable / GIB:.1f} are there"
        where = f"{self.machine.all_cards} x {card.name} by {service.engine}"
        problem = f"{self.weights.name} does not fit on {where}: it takes {takes}"
        return replace(sized, problem=problem, remedy="Give it more cards, or take a smaller model of vectors.")

    def context(self) -> int:
        """What the profile says; else the longest power of two of which there is room for several."""
        service = self.service
        if not service.leaves_open("context_tokens"):
            return service.context_tokens
        wanted = _SEVERAL if service.leaves_open("parallel_requests") else service.parallel_requests
        longest = min(self.weights.model.context_length, _LONGEST_CONTEXT)
        tried = [1 << power for power in range(longest.bit_length() - 1, 0, -1) if 1 << power >= _SHORTEST_CONTEXT]
        good = (tokens for tokens in tried if self.fit(tokens).requests_by_memory >= wanted)
        return next(good, min(longest, _SHORTEST_CONTEXT))

    def fit(self, context: int, spare: float = 0.0, *, ways: list[Parallelism] | None = None) -> Fit:
        """The best way to serve requests of this context, with so much more of each card than is counted."""
        service, machine, model = self.service, self.machine, self.weights.model
        base = unproven(
            model,
            self.weights.build,
            engine=service.engine,
            quantization=self.weights.build.quantization,
            size=self.size,
            wish=Wish(context_tokens=context),
        )
        if spare and machine.card:
            larger = int(machine.card.memory_bytes * (1 + spare))
            machine = replace(machine, card=replace(machine.card, memory_bytes=larger))
        if service.engine == "ollama":
            return on_cards_by_llama_cpp(base, machine, CACHE_BYTES.get(str(self.own.get("OLLAMA_KV_CACHE_TYPE")), 2.0))
        batched = self.own.get("--max-num-batched-tokens", BATCHED_TOKENS)
        return best_spread(
            base,
            ways or self._ways(),
            machine,
            self.load(context),
            utilisation=self._utilisation(),
            batched_tokens=int(batched) if isinstance(batched, int) else BATCHED_TOKENS,
        )

    def load(self, context: int) -> Load:
        """What the cards are asked to do."""
        eight_bits = self.weights.build.quantization == "FP8" or self.own.get("--quantization") == "fp8"
        return Load(context, self.size, cache_number_bytes=self._cache_bytes(), eight_bits=eight_bits)

    def _ways(self) -> list[Parallelism]:
        if self.service.parallelism:
            return [self.service.parallelism]
        return self._free_ways()

    def _free_ways(self) -> list[Parallelism]:
        """What the engine can do; trtllm-serve serves one copy of a model."""
        ways = spreads(self.weights.model.architecture, self.machine)
        alone = [one for one in ways if one.data == 1] if self.service.engine == "tensorrt_llm" else []
        return alone or ways

    def _cache_bytes(self) -> float:
        return 1.0 if str(self.own.get("--kv-cache-dtype", "auto")).startswith("fp8") else 2.0

    def _utilisation(self) -> float:
        said = self.own.get("--gpu-memory-utilization")
        return float(said) if isinstance(said, (int, float)) else VLLM_UTILISATION

    def most(self, fit: Fit) -> float:
        """Requests that one copy of the model serves well at once."""
        return fit.requests * (_SET_ASIDE if self.service.engine == "ollama" else 1.0) / fit.spread.data

    def refusal(self, fit: Fit) -> tuple[str, str]:
        """Why it cannot run, and what to do; empty where it can, or where the count is too close to say."""
        service, card = self.service, self.machine.card
        assert card is not None  # noqa: S101  the caller has looked
        near = self.fit(fit.wish.context_tokens, _MARGIN)
        if near.memory and not near.memory.fits:
            where = f"{self.machine.all_cards} x {card.name} by {service.engine}"
            return f"{self.weights.name} does not fit on {where}: {fit.reasons[0]}", ""
        if not near.fits and fit.memory:
            room = f"Set context_tokens to {fit.memory.tokens} at most." if fit.memory.tokens >= 512 else ""
            left = f"{fit.memory.cache / GIB:.1f} GiB of each card, which is {fit.memory.tokens} tokens"
            return f"{self.weights.name} leaves its cache {left}, and a request has {fit.wish.context_tokens}", room
        asked = service.parallel_requests
        fixed = not service.leaves_open("parallel_requests")
        if service.engine == "ollama" and fixed and near.requests_by_memory < asked:
            beside = f"beside {self.weights.name} on {self.machine.all_cards} x {card.name}"
            return (
                f"{asked} requests of {fit.wish.context_tokens} tokens do not fit {beside}",
                f"Set parallel_requests to {fit.requests_by_memory}, or context_tokens to less.",
            )
        return "", ""

    def settings(self, sized: Service, fit: Fit) -> Iterator[SizedSetting]:
        """What was chosen, with the reason; of what is fixed, what sizing says of it."""
        if self.service.engine != "ollama":
            yield self._told("parallelism", str(fit.spread), *self._why_spread(fit))
        yield self._told("context_tokens", str(sized.context_tokens), *self._why_context(fit))
        yield self._told("parallel_requests", str(sized.parallel_requests), *self._why_at_once(sized, fit))
        if fit.memory:
            said = "--kv-cache-dtype" in self.own or "OLLAMA_KV_CACHE_TYPE" in self.own
            value = str(self.own.get("--kv-cache-dtype", self.own.get("OLLAMA_KV_CACHE_TYPE", "16 bits")))
            room = f"{fit.memory.cache / GIB:.1f} GiB of each card hold {fit.memory.tokens} tokens"
            yield self._told("cache", value, room, "" if said else "the engine's own precision", fixed=said)

    def _told(self, setting: str, value: str, *reasons: str, fixed: bool | None = None) -> SizedSetting:
        by_profile = not self.service.leaves_open(setting) if fixed is None else fixed
        reason = "; ".join(filter(None, reasons))
        return SizedSetting(unit=self.service.unit, setting=setting, value=value, fixed=by_profile, reason=reason)

    def _why_spread(self, fit: Fit) -> tuple[str, ...]:
        if self.service.parallelism is None:
            return ("of all ways over these cards it serves most requests at the speed that is wanted",)
        free = self.fit(fit.wish.context_tokens, ways=self._free_ways())
        if free.spread == fit.spread or free.requests <= fit.requests:
            return ("nothing counts better",)
        return (f"{free.spread} would serve {free.requests} requests and not {fit.requests}",)

    def _why_context(self, fit: Fit) -> tuple[str, ...]:
        if not fit.fits:
            return (f"counted a little short, and within what counting can tell: {fit.reasons[0]}",)
        return (f"the memory of the cards holds {fit.requests_by_memory} of that length",)

    def _why_at_once(self, sized: Service, fit: Fit) -> tuple[str, ...]:
        by_memory, at_speed = fit.requests_by_memory // fit.spread.data, fit.requests_at_speed
        copies = f" in each of {fit.spread.data} copies" if fit.spread.data > 1 else ""
        words = [f"memory holds {by_memory} whole contexts{copies}"]
        if at_speed is not None:
            words.append(f"{at_speed // fit.spread.data} still get {fit.wish.speed:g} tokens/s each (predicted)")
        if sized.parallel_requests > by_memory:
            words.append("beyond that, requests wait in turn if all of them are that long")
        return tuple(words)
