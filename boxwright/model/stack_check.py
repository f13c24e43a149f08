"""Whether a profile's engines run its models on its cards and processors, before anything is installed.

What cannot run is refused with the reason and with the nearest thing that can. Figures come from the catalogues, and
the few that stand here name their source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from boxwright.errors import BadInputError
from boxwright.model.accelerators import Accelerator, AcceleratorCatalogue, EngineRange
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.engine_settings import EngineTable
from boxwright.model.kt_check import check_ktransformers
from boxwright.model.ktransformers import method_name
from boxwright.model.mig_layout import check_mig
from boxwright.model.ollama_check import check_ollama
from boxwright.model.profile import Profile
from boxwright.model.releases import kinds_of_cards, usual_release
from boxwright.model.setting import Value
from boxwright.model.stack import EngineName, Service
from boxwright.model.tensorrt_llm import check_fp8, check_tensorrt_llm
from boxwright.model.vendor_kinds import check_vendor_kinds
from boxwright.model.versions import release_key
from boxwright.model.vllm_container import check_vllm_container
from boxwright.model.weights import Weights, weights_of

TableOf = Callable[[str], EngineTable]

# vLLM for Ascend is a plug-in of vLLM of the same version, and starts by the same command; that for AMD is vLLM itself.
TABLES: dict[EngineName, str] = {
    "llama_cpp": "llama_cpp",
    "ollama": "ollama",
    "vllm": "vllm",
    "vllm_ascend": "vllm",
    "vllm_rocm": "vllm",
    "ktransformers": "sglang_kt",
    "tensorrt_llm": "tensorrt_llm",
}

BFLOAT16 = "8.0"  # vLLM 0.33, platforms/cuda.py: check_if_supports_dtype
_NATIVE_FP8 = "8.9"  # the same file: supports_fp8; below it, FP8 weights are turned into 16 bits as they are used
_KINDS_OF_BUILDS = {"FP8": "fp8", "AWQ": "awq", "GPTQ": "gptq", "NVFP4": "modelopt_fp4", "MXFP4": "mxfp4"}


@dataclass(frozen=True)
class _Case:
    """One service of a profile, and what is known of it."""

    place: str  # profile NAME, stack.further.0
    service: Service
    profile: Profile
    cards: tuple[Accelerator, ...]  # kinds of cards that it uses, as far as they are known
    table: EngineTable | None
    version: str  # empty: of an engine whose releases are not known

    @property
    def settings(self) -> dict[str, Value]:
        """The profile's settings by the engine's own spelling."""
        canonical = self.table.canonical if self.table else str
        return {canonical(name): value for name, value in self.service.engine_settings.items()}

    def refused(self, message: str, hint: str) -> BadInputError:
        return BadInputError(message, where=self.place, hint=hint)


def check_stack(profile: Profile, tables: TableOf, accelerators: AcceleratorCatalogue, models: ModelCatalogue) -> None:
    """Hold each service of the stack against its engine's settings, its cards, its weights and the processors.

    Args:
        profile: What is wanted.
        tables: Loads the settings of an engine by the name of its table.
        accelerators: What cards need and can do.
        models: What models there are. One that is not there is not this function's to tell.

    Raises:
        BadInputError: A service could not run.
    """
    check_mig(profile, accelerators)
    for case in _cases(profile, tables, accelerators):
        for card in case.cards:
            _check_engine(case, card)
        _check_settings(case)
        weights = _weights(case.service, models)
        for card in case.cards:
            if card.architecture and card.architecture.compute_capability:
                _check_precision(case, card, card.architecture.compute_capability, weights)
            _check_vendor_kinds(case, card, weights)
        if case.service.engine == "ktransformers":
            _check_ktransformers(case, weights)
        if case.service.engine == "ollama" and (found := check_ollama(profile, case.version, weights)):
            raise case.refused(*found)
        if case.service.engine == "tensorrt_llm":
            _check_tensorrt_llm(case, weights)
        if found := check_vllm_container(profile, case.service, case.cards):
            raise case.refused(*found)


def _check_tensorrt_llm(case: _Case, weights: Weights | None) -> None:
    found = check_tensorrt_llm(case.profile, case.service, case.version, weights)
    for card in case.cards:
        has = card.architecture.compute_capability if card.architecture else None
        found = found or (check_fp8(weights, has, card.name) if has else None)
    if found:
        raise case.refused(*found)


def _cases(profile: Profile, tables: TableOf, accelerators: AcceleratorCatalogue) -> Iterator[_Case]:
    for number, service in enumerate(profile.stack.services):
        name = TABLES.get(service.engine)
        table = tables(name) if name else None
        place = f"profile {profile.name}, stack" + (f".further.{number - 1}" if number else "")
        cards = kinds_of_cards(profile, [service], accelerators)
        usual = ""
        if table:
            built = service.engine == "llama_cpp" and profile.builds_llama_cpp
            without_cards = table.cpu_version if not (built or profile.cards_of(service)) else None
            usual = without_cards or usual_release(profile, service.engine, table, accelerators)
        yield _Case(place, service, profile, cards, table, service.engine_version or usual)


def _weights(service: Service, models: ModelCatalogue) -> Weights | None:
    try:
        return weights_of(service, models)
    except ValueError:
        return None


def _check_engine(case: _Case, card: Accelerator) -> None:
    """Whether any release of the engine, and then this one, runs on the card."""
    engine, version = case.service.engine, case.version
    ranges: dict[str, EngineRange] = {one.engine: one for one in card.engines}
    if engine == "llama_cpp" or not ranges:
        return  # nothing is recorded of these
    allowed = ranges.get(engine)
    if allowed is None or not allowed.supported:
        known = "does not run" if allowed else "is not known to run"
        raise case.refused(f"{engine} {known} on {card.name}", _other_engines(card))
    if allowed.max and release_key(version) > release_key(allowed.max):
        raise case.refused(
            f"{engine} {version} has nothing for {card.name}: {allowed.max} is the last release that has",
            f"Set stack.engine_version to {allowed.max} or earlier. {_other_engines(card, engine)}".strip(),
        )
    if allowed.min and release_key(version) < release_key(allowed.min):
        raise case.refused(
            f"{engine} {version} has nothing for {card.name} yet: {allowed.min} is the first release that has",
            f"Set stack.engine_version to {allowed.min} or later.",
        )


def _other_engines(card: Accelerator, but: str = "") -> str:
    def shown(one: EngineRange) -> str:
        ends = [f"from {one.min}" if one.min else "", f"up to {one.max}" if one.max else ""]
        return " ".join([one.engine, *(end for end in ends if end)])

    others = [shown(one) for one in card.engines if one.supported and one.engine != but]
    return f"On this card run: {', '.join(others)}." if others else ""


def _check_settings(case: _Case) -> None:
    service, table = case.service, case.table
    if table is None:
        if service.engine_settings:
            raise case.refused(
                f"the settings of {service.engine} are not known, so engine_settings cannot be checked",
                "Leave engine_settings empty.",
            )
        return
    problem = table.check_version(case.version)
    if problem:
        raise case.refused(f"engine_version: {problem.message}", problem.hint)
    problems = table.check(case.version, service.engine_settings)
    if problems:
        first, *others = problems
        also = [f"Also wrong: {other.message}" for other in others]
        raise case.refused(f"engine_settings: {first.message}", "\n".join(part for part in (first.hint, *also) if part))


def _check_precision(case: _Case, card: Accelerator, has: str, weights: Weights | None) -> None:
    """Whether the card computes with the numbers that weights and cache are made of."""
    settings, table = case.settings, case.table
    if case.service.engine != "vllm" or table is None:
        return
    cache = str(settings.get("--kv-cache-dtype", ""))
    if _less(has, BFLOAT16) and "bfloat16" in (settings.get("--dtype"), cache):
        raise case.refused(
            f"{card.name} has no bfloat16: it needs compute capability {BFLOAT16}, and the card has {has}",
            "Set engine_settings.dtype to half.",
        )
    if _less(has, _NATIVE_FP8) and cache.startswith("fp8"):
        raise case.refused(
            f"{card.name} does not compute in FP8: a cache in {cache} needs compute capability {_NATIVE_FP8}, and the "
            f"card has {has}",
            "Leave engine_settings.kv-cache-dtype out.",
        )
    kind = str(settings.get("--quantization") or _kind_of(weights))
    least = table.capability(kind, case.version)
    if least and _less(has, least):
        raise case.refused(
            f"weights in {kind} need compute capability {least} with vllm {case.version}, and {card.name} has {has}",
            _nearest_kinds(table, case.version, has),
        )


def _check_vendor_kinds(case: _Case, card: Accelerator, weights: Weights | None) -> None:
    """Whether another maker's card takes the weights and the cache."""
    engine, table = case.service.engine, case.table
    if table is None:
        return
    kind = str(case.settings.get("--quantization") or _kind_of(weights))
    if found := check_vendor_kinds(engine, case.version, card, case.settings, kind=kind, table=table):
        raise case.refused(*found)


def _kind_of(weights: Weights | None) -> str:
    build = weights.build.quantization.upper() if weights else ""
    return next((kind for name, kind in _KINDS_OF_BUILDS.items() if build.startswith(name)), "")


def _nearest_kinds(table: EngineTable, version: str, has: str) -> str:
    kinds = ("fp8", "awq", "gptq", "bitsandbytes")  # what weights are published in
    fitting = [kind for kind in kinds if (least := table.capability(kind, version)) and not _less(has, least)]
    return f"Take weights in {' or '.join([*fitting, 'float16'])}."


def _check_ktransformers(case: _Case, weights: Weights | None) -> None:
    setting = case.table.find("--kt-method", case.version) if case.table else None
    default = (setting.default if setting else None) or ""
    method = method_name(case.settings, weights.build if weights else None, default)
    found = check_ktransformers(case.profile, case.service, case.settings, method, weights)
    if found:
        raise case.refused(*found)


def _less(one: str, other: str) -> bool:
    return release_key(one) < release_key(other)
